"""How much noise an image has, by colour and by brightness."""

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

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
PAIRS = ((0, 1), (1, 2), (0, 2))
"""Red with green, green with blue, red with blue."""


@dataclasses.dataclass(frozen=True)
class Noise(Cue):
    """The size of what is neither flat nor an edge (Immerkær 1996) in 8×8 blocks of the middle 256×256: sensors, denoising and
    compression set its level, its growth with brightness and its likeness between colours."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 14
    points_to: ClassVar[str] = "the camera's noise, denoising, sharpening or compression; fine texture too"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By channel: `level` (B, 3, 5), the log of the noise of blocks at five shares of all from the quietest on, `none`, the share
        of zeros, `tail`; `by_brightness` (B, 8); `together` (B, 3), the channels' correlation; `along` (B, 2, 4), that of
        neighbours."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch
    from torch.nn import functional

    from lens.operations import shrinking

    kernel = images.new_tensor([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
    rest = functional.conv2d(images, kernel.expand(3, 1, 3, 3), groups=3)
    size = rest.abs()
    blocks = functional.avg_pool2d(size, 8)
    level = (blocks.flatten(2) * math.sqrt(math.pi / 2) + 0.01).log()
    shares = torch.tensor(SHARES)
    grey = functional.avg_pool2d(shrinking.luminance(images)[:, :, 1:-1, 1:-1], 8).flatten(1)
    place = functional.one_hot((grey * (8 / 256)).long().clamp(0, 7), 8).to(grey)  # (b, blocks, 8)
    count = place.sum(dim=1)
    by_brightness = torch.einsum("bcn,bnk->bk", level, place) / (3 * count)  # 0/0 is NaN: no such block
    square = rest.square().mean(dim=(2, 3))
    pairs = torch.stack([(rest[:, a] * rest[:, b]).mean(dim=(1, 2)) for a, b in PAIRS], dim=1)
    scale = torch.stack([(square[:, a] * square[:, b]).sqrt() for a, b in PAIRS], dim=1)
    return {
        "level": level.quantile(shares, dim=2).permute(1, 2, 0),
        "none": (size < 0.01).to(size.dtype).mean(dim=(2, 3)),
        "tail": square / (size.mean(dim=(2, 3)).square() + 0.01),
        "by_brightness": by_brightness,
        "together": pairs / (scale + 0.01),
        "along": torch.stack([_along(rest[:, 1]), _along(rest[:, 1].mT)], dim=1),
    }


def _along(rest: Tensor) -> Tensor:
    """The correlation of a residual (b, H, W) with itself, one to four pixels further across: (b, 4)."""
    import torch

    own = rest.square().mean(dim=(1, 2)) + 0.01
    return torch.stack([(rest[..., :-n] * rest[..., n:]).mean(dim=(1, 2)) / own for n in range(1, 5)], dim=1)
