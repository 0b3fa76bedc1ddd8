"""A small U-Net that edits single pixels: its finest level is the image's own."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.base.errors import check_number
from lens.protocols.lens import Lens


@dataclasses.dataclass(frozen=True)
class FullResolution(Lens):
    """δ is a U-Net of `depth` levels below the image's own."""

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
        """The U-Net."""
        from lens.lenses._full_resolution_unet import FullResolutionUnet

        return FullResolutionUnet(self.depth)
