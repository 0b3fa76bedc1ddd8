"""Blurs and smooth shifts of colour, chosen place by place: it can hardly paint."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.base.errors import check_number
from lens.protocols.lens import Lens


@dataclasses.dataclass(frozen=True)
class Smooth(Lens):
    """δ is made of two blurs and a smooth shift, whose strengths come from a U-Net of full resolution."""

    depth: int = 4
    """Levels of the U-Net, 3 to 5; its input is padded to a multiple of 2**depth."""

    def __post_init__(self) -> None:
        """Raise BadInput for a depth outside its range."""
        check_number("lens.depth", self.depth, low=3, high=5)

    @property
    def multiple(self) -> int:
        """Two to the number of levels."""
        return 1 << self.depth

    def network(self) -> Any:
        """The U-Net with its blurs."""
        from lens.lenses._smoothing import Smoothing

        return Smoothing(self.depth)
