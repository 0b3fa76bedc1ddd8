"""The grid of 8×8 blocks that compression leaves, and where it begins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._native import by_crop
from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

STRIP = 32
"""Columns whose lines are ranked together."""
MOST = 8.0


@dataclasses.dataclass(frozen=True)
class BlockGrid(Cue):
    """How large third differences across each line of the grid are, by their rank among the lines of one period: blocks end in small
    steps. Of the middle 256×256; lines are counted from the picture's own corner, so that a cut copy of a compressed picture shows
    another beginning. Ranks do not ask what a picture shows: without a grid every order of lines is as likely."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 11
    points_to: ClassVar[str] = "compression in blocks (JPEG, video, WebP), and cutting after it"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By way (down, across): `grid` (B, 8) of luminance and (B, 16) of chroma, mean ranks in deviations, at most 8, about 0 ± 1
        without a grid; `begins`, the line with the largest, 0 for the picture's own grid, and `strength`, that one's."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    from lens.operations.jpeg_planes import LUMINANCE, planes

    found = {}
    stored = planes(images, [LUMINANCE, "4:4:4"])
    for (name, period), plane in zip((("luminance", 8), ("chroma", 16)), stored.values(), strict=True):
        for way, turned in (("down", plane.samples), ("across", plane.samples.mT)):
            lines = _lines(turned, period)
            found[f"{name}_strength_{way}"], begins = lines.max(dim=1)
            found[f"{name}_grid_{way}"] = lines
            found[f"{name}_begins_{way}"] = begins.float()
    return found


def _lines(planes: Tensor, period: int) -> Tensor:
    """The mean rank of each phase of a period, in deviations (Friedman 1937): planes (b, C, H, W) → (b, period).

    Phase 0 is between the last pixel of a period and the first of the next. 0 where there is no whole period.
    """
    import torch
    from torch.nn import functional

    change = planes.diff(n=3, dim=2).abs().mean(dim=1)  # (b, H − 3, W), between pixels i + 1 and i + 2
    change = change[:, period - 2 :]  # the first is phase 0
    periods = change.shape[1] // period
    if not periods:
        return change.new_zeros(len(change), period)
    strips = functional.avg_pool2d(change, (1, min(STRIP, change.shape[2])))[:, : periods * period]
    size = strips.reshape(len(strips), periods, period, -1).movedim(2, 3)  # (b, periods, strips, period)
    larger = (size[..., :, None] > size[..., None, :]).float() + 0.5 * (
        size[..., :, None] == size[..., None, :]
    ).float()
    rank = larger.sum(dim=4) - period / 2  # of equal ones the mean rank, 0 in the middle
    spread = math.sqrt((period**2 - 1) / 12 / (periods * size.shape[2]))
    return torch.clamp(rank.mean(dim=(1, 2)) / spread, -MOST, MOST)
