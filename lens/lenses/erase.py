"""Erases one box of every image: where it finds a mark, or at a random place; filled from around it, it cannot hide anything."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from lens.base.errors import check_number
from lens.lenses._levels import Levels


@dataclasses.dataclass(frozen=True)
class Erase(Levels):
    """One box of every image is filled from its surroundings, at the place that a U-Net's map finds, or at a random one.

    What can still tell: a part of the mark left outside the box, and where the box falls.
    """

    replaces: ClassVar[bool] = True

    height: float = 0.1875
    """Height of the box, a share of the image's: six rows of 32, of which a watermark's letters fill five."""
    width: float = 0.5
    """Width of the box, a share of the image's: that of a watermark."""
    margin: float = 0.03125
    """How far what is erased reaches beyond the box on all sides, a share of the image's height (one pixel of 32)."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        super().__post_init__()
        check_number("lens.height", self.height, low=0, high=0.75, open_low=True)
        check_number("lens.width", self.width, low=0, high=0.75, open_low=True)
        check_number("lens.margin", self.margin, low=0, high=0.1)

    def network(self) -> Any:
        """The map with its eraser."""
        from lens.lenses._place_map import Eraser

        return Eraser(self.depth, self.height, self.width, self.margin)
