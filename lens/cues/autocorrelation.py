"""What repeats itself in an image at a fixed distance, wherever it stands: letters, marks, screens."""

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

REACH = 12
"""Pixels, in each direction, up to which an image is compared with itself."""
EDGE = 0.05
"""Differences to the surroundings, of the range, are cut off at this: faint strokes count as much as the strong edges of what is shown."""


@dataclasses.dataclass(frozen=True)
class Autocorrelation(Cue):
    """How much the fine detail of an image is like itself some pixels further. A mark of one form leaves the same distances between its
    strokes wherever it stands, which no view of places can see. Of each pixel the least channel counts: it is what white or grey
    strokes raise, whatever colour they lie on."""

    order: ClassVar[float] = 54
    points_to: ClassVar[str] = "marks, letters or screens that stand anywhere; sharpness, resampling or texture"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`likeness` (B, 13, 25): the correlation at shifts of 0 to 12 pixels down and −12 to 12 across, 1 at none."""
        return arrays({"likeness": likeness(detail(squares(pictures).amin(dim=1)))})


def detail(levels: Tensor) -> Tensor:
    """Levels (B, H, W) in [0, 1] less the mean of 3×3 pixels, cut off at ±0.05: same shape."""
    from lens.operations.convolutions import blurred

    return (levels - blurred(levels[:, None])[:, 0]).clamp(-EDGE, EDGE)


def likeness(detail: Tensor) -> Tensor:
    """The autocorrelation of images (B, H, W) against that without a shift, without wrapping around: (B, 13, 25); of a flat one 0."""
    import torch

    padded = [size + REACH for size in detail.shape[1:]]
    power = torch.fft.rfft2(detail, s=padded).abs().square()
    found = torch.fft.irfft2(power, s=padded)
    found = found / found[:, :1, :1].clamp(min=1e-6)
    shifts: Tensor = found.roll(REACH, dims=2)[:, : REACH + 1, : 2 * REACH + 1]
    return shifts
