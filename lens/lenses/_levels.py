"""What lenses that are U-Nets share: so many levels, and images padded to what they halve evenly."""

from __future__ import annotations

import dataclasses

from lens.base.errors import check_number
from lens.protocols.lens import Lens


@dataclasses.dataclass(frozen=True)
class Levels(Lens):
    """A lens whose network halves its input `depth` times."""

    depth: int = 4
    """Levels of the U-Net, 3 to 5; its input is padded to a multiple of 2**depth."""

    def __post_init__(self) -> None:
        """Raise BadInput for a depth outside its range."""
        check_number("lens.depth", self.depth, low=3, high=5)

    @property
    def multiple(self) -> int:
        """Two to the number of levels."""
        return 1 << self.depth
