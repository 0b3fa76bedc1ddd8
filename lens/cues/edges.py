"""The outlines of an image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import BadInput, check_number
from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Edges(ViewCue):
    """Canny's edges (Gaussian 3×3, thresholds 85 and 255 of 255; Zeng, Yin & Liu 2024: 71.0 %, chance 33.3)."""

    order: ClassVar[float] = 61
    points_to: ClassVar[str] = "outlines: what the pictures show, sharpness, or something drawn on them"
    acquisition: ClassVar[bool | None] = None

    low: float = 85 / 255
    """The gradient from which an edge goes on, above 0 and below 1."""
    high: float = 1.0
    """The gradient at which an edge begins, from `low` to 1."""

    def __post_init__(self) -> None:
        """Raise BadInput for thresholds outside their range."""
        check_number("cue.low", self.low, low=0, high=1, open_low=True, open_high=True)
        check_number("cue.high", self.high, low=0, high=1, open_low=True)
        if self.high < self.low:
            raise BadInput(f"--cue.high {self.high} is below --cue.low {self.low}: swap them")

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """1 on edges, 0 elsewhere: (B, 1, S, S)."""
        from lens.operations import outlines, shrinking

        return outlines.canny(shrinking.luminance(squares), self.low, self.high)
