"""Traces of two compressions by JPEG, one after the other, on one grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._native import by_crop
from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

QUALITIES = (10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 88, 90, 93, 96)
"""Qualities of libjpeg at which an image is quantised again."""
LEVELS = 12
GROUPS = ((1, 1), (2, 3), (4, 6))
"""The first and the last diagonal of frequencies whose levels are counted together."""
MOST = 6.0


@dataclasses.dataclass(frozen=True)
class DoubleCompression(Cue):
    """How an image would change if it were quantised at other qualities (Farid 2009, ghosts), against the same on a shifted grid, and
    gaps in the levels it was quantised to (Popescu & Farid 2004). Of the luminance of the middle 256×256."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 12
    points_to: ClassVar[str] = "how often and how strongly JPEG compressed them"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`ghost` (B, 20), the log of the change at a quality against that on a shifted grid; `gaps` (B, 3, 10), how far the count of a
        level of the best table is off its neighbours', by group of frequencies, in deviations, at most 6."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""

    from lens.operations.dct_histograms import by_quality, ghost_errors, histogram
    from lens.operations.jpeg import tables
    from lens.operations.jpeg_planes import LUMINANCE, planes

    plane = planes(images, [LUMINANCE])[LUMINANCE]
    own, shifted = histogram(plane), histogram(plane.off_grid())
    weights = ghost_errors(QUALITIES).flatten(1).T
    # A block's worth of rounding on both sides: of flat pictures nothing would be compared with nothing.
    ghost = [(part.flatten(1) @ weights + 64) / (part[:, 1:].sum(dim=(1, 2)) + 64)[:, None] for part in (own, shifted)]
    best = by_quality(own, shifted, chroma=False).argmax(dim=1) + 1
    levels = _levels(own, tables(best)[:, 0].flatten(1))  # (b, group, LEVELS)
    # Between levels that fall off by a factor each, a count is the geometric mean of its neighbours.
    between = (levels[:, :, :-2] * levels[:, :, 2:]).sqrt()
    spread = (levels[:, :, 1:-1] + (levels[:, :, :-2] + levels[:, :, 2:]) / 4 + 1).sqrt()
    gaps = ((levels[:, :, 1:-1] - between) / spread).clamp(-MOST, MOST)
    return {"ghost": (ghost[0] / ghost[1]).log(), "gaps": gaps}


def _levels(histogram: Tensor, steps: Tensor) -> Tensor:
    """Histograms (b, 64, N) and each image's steps (b, 64) → how often each level, 0 to 11, occurs by group of frequencies: (b, 3, 12)."""
    import torch

    size = torch.arange(histogram.shape[2], dtype=torch.float64)
    level = (size / steps[..., None]).round().long().clamp(max=LEVELS)
    n = torch.arange(8)
    diagonal = (n[:, None] + n).flatten()
    found = []
    for first, last in GROUPS:
        inside = (diagonal >= first) & (diagonal <= last)
        counts = torch.zeros(len(histogram), LEVELS + 1, dtype=histogram.dtype)
        counts.scatter_add_(1, level[:, inside].flatten(1), histogram[:, inside].flatten(1))
        found.append(counts[:, :LEVELS])
    return torch.stack(found, dim=1)
