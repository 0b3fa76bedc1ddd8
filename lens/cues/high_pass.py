"""The high frequencies of an image in grey."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class HighPass(ViewCue):
    """Grey, an ideal high-pass filter, stretched to the range (Zeng, Yin & Liu 2024: 79.2 %, radius 40 at 224 px)."""

    order: ClassVar[float] = 51
    points_to: ClassVar[str] = "fine detail: sharpness, noise, compression, resampling, or texture"
    acquisition: ClassVar[bool | None] = None

    radius: float = 40.0
    """The filter's radius in cycles across 224 px, above 0 and at most 112; in proportion at other sizes."""

    def __post_init__(self) -> None:
        """Raise BadInput for a radius outside its range."""
        check_number("cue.radius", self.radius, low=0, high=112, open_low=True)

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares' frequencies above the radius, each image stretched to [0, 1]: (B, 1, S, S)."""
        from lens.operations import shrinking, spectra

        return spectra.stretched(spectra.banded(shrinking.luminance(squares), self.radius / 224, low=False))
