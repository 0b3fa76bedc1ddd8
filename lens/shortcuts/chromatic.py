"""Chromatic aberration: the green channel is shifted in one direction, or spread from the centre (radial)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Chromatic:
    """Green against red and blue, by 1 px at 32 px (Minderer et al. 2020, section 4, CIFAR-10).

    `radial` is the aberration of a real objective, the cue that relative patch is known to use (Doersch et al. 2015,
    section 4.2): the shift points away from the centre and grows with the distance, up to `strength` in the middle of
    an edge.
    """

    plants: ClassVar[bool] = True

    strength: float = 1.0
    """Shift in pixels at a side of 32 px, in proportion at others; above 0 and at most 8."""
    directions: int = 4
    """Directions that θ chooses from; with 4, a random key shows the same pictures as a constant one under rotation."""
    radial: bool = False
    """Spread green from the centre instead; θ then turns the whole field (0 outward, 0.5 inward)."""

    def __post_init__(self) -> None:
        check_number("shortcut.strength", self.strength, low=0, high=8, open_low=True)
        check_number("shortcut.directions", self.directions, low=1)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Move green by θ of a turn, counter-clockwise from up; what comes in from outside repeats the edge."""
        import torch
        from torch.nn import functional

        side = images.shape[-1]
        # grid_sample's frame is [−1, 1]: a pixel is 2 / side wide. At 32 px, 1 px is 1/16.
        shift = self.strength / 16
        turn = theta if self.radial else (theta * self.directions).floor() / self.directions
        cos, sin = torch.cos(2 * math.pi * turn) * shift, torch.sin(2 * math.pi * turn) * shift
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        # Each row says where a pixel is taken from: content moves against it. y points down.
        if self.radial:
            rows = [torch.stack([one - cos, -sin, zero], dim=1), torch.stack([sin, one - cos, zero], dim=1)]
        else:
            rows = [torch.stack([one, zero, sin], dim=1), torch.stack([zero, one, cos], dim=1)]
        grid = functional.affine_grid(torch.stack(rows, dim=1), [len(images), 1, side, side], align_corners=False)
        green = functional.grid_sample(
            images[:, 1:2], grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return torch.cat([images[:, :1], green.clamp(0, 1), images[:, 2:]], dim=1)
