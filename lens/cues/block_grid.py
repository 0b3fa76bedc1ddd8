"""The grid of 8×8 blocks that compression leaves, and where it begins."""

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

EDGE = 30.0
"""Third differences, in levels, are cut off at this."""


@dataclasses.dataclass(frozen=True)
class BlockGrid(Cue):
    """Third differences across each of the grid's lines, against those of all: blocks end in small steps. Of the middle 256×256; lines
    are counted from the picture's own corner, so that a cut copy of a compressed picture shows another beginning."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 11
    points_to: ClassVar[str] = "compression in blocks (JPEG, video, WebP), and cutting after it"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By way (down, across): `grid` (B, 8) of luminance and (B, 16) of chroma, 1 where a line is as all are; `begins`, the line with
        the largest, 0 for the picture's own grid, and `strength`, how far it stands out."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    from lens.operations import dct_histograms

    found = {}
    for name, period, planes in zip(
        ("luminance", "chroma"), (8, 16), dct_histograms.luminance_and_chroma(images), strict=True
    ):
        for way, turned in (("down", planes), ("across", planes.mT)):
            lines = _lines(turned, period)
            best, begins = lines.max(dim=1)
            found[f"{name}_grid_{way}"] = lines
            found[f"{name}_begins_{way}"] = begins.float()
            found[f"{name}_strength_{way}"] = best - lines.median(dim=1).values
    return found


def _lines(planes: Tensor, period: int) -> Tensor:
    """The size of third differences at each phase of a period, against the mean of all: planes (b, C, H, W) → (b, period).

    Phase 0 is between the last pixel of a period and the first of the next.
    """
    import torch

    # An edge of the picture itself must not outweigh a whole line of small steps.
    change = (
        planes.diff(n=3, dim=2).abs().clamp(max=EDGE).mean(dim=(1, 3))
    )  # (b, H − 3), between pixels i + 1 and i + 2
    phase = (torch.arange(change.shape[1]) + 2) % period
    weight = torch.nn.functional.one_hot(phase, period).to(change)
    mean = change @ weight / weight.sum(dim=0).clamp(min=1)
    return mean / (change.mean(dim=1, keepdim=True) + 0.01)
