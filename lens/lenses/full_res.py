"""A small U-Net that edits single pixels: its finest level is the image's own."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.lenses._levels import Levels


@dataclasses.dataclass(frozen=True)
class FullResolution(Levels):
    """δ is a U-Net of `depth` levels below the image's own."""

    def network(self) -> Any:
        """The U-Net."""
        from lens.lenses._full_resolution_unet import FullResolutionUnet

        return FullResolutionUnet(self.depth)
