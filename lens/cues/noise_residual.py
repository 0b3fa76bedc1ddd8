"""What is left of an image when what is smooth is taken away: noise, grain, compression."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._squares import arrays, squares
from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class NoiseResidual(Cue):
    """The difference to a blurred copy; for trees statistics of second differences (Fridrich & Kodovský 2012) and of the channels' alignment."""

    order: ClassVar[float] = 53
    points_to: ClassVar[str] = "noise, sharpening, compression or demosaicing; fine texture too"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """0.5 and four times the difference to the mean of 3×3 pixels, clipped: same shape."""
        from lens.operations.convolutions import blurred

        return (0.5 + 4 * (squares - blurred(squares))).clamp(0, 1)

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """Moments, small values and pairs of the residual down and across, and the channels' alignment: 126 numbers."""
        from lens.operations import trace_statistics

        return arrays(trace_statistics.noise((squares(pictures) * 255).round()))
