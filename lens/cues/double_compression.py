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


@dataclasses.dataclass(frozen=True)
class DoubleCompression(Cue):
    """How an image would change if it were quantised at other qualities (Farid 2009, ghosts), and gaps in the levels it was quantised
    to (Popescu & Farid 2004; first digits after Fu, Shi & Su 2007). Of the luminance of the middle 256×256."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 12
    points_to: ClassVar[str] = "several compressions by JPEG, one after the other"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`ghost` (B, 20), the log share of energy that a quality would change; in the levels of the best table, by group of
        frequencies: `digits` (B, 3, 9), first digits, and `gaps` (B, 3, 10), how far a level's count is off its neighbours'."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    from lens.operations import dct_histograms
    from lens.operations.jpeg import tables

    histogram = dct_histograms.of_luminance(images)
    size = torch.arange(histogram.shape[2], dtype=torch.float32)
    energy = (histogram[:, 1:] * size**2).sum(dim=(1, 2))
    errors = histogram.flatten(1) @ dct_histograms.ghost_errors(QUALITIES).flatten(1).T
    best = dct_histograms.by_quality(histogram, chroma=False)[0].argmax(dim=1) + 1
    levels = _levels(histogram, tables(best)[:, 0].flatten(1))  # (b, group, LEVELS)
    around = (levels[:, :, :-2] + 1).log() + (levels[:, :, 2:] + 1).log()
    total = levels[:, :, 1:].sum(dim=2, keepdim=True)
    return {
        "ghost": ((errors + 1) / (energy[:, None] + 1)).log(),
        "gaps": (levels[:, :, 1:-1] + 1).log() - around / 2,
        "digits": levels[:, :, 1:10] / total.clamp(min=1),
    }


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
