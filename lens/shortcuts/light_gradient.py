"""A light gradient: one side of the image is brighter, the other darker."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class LightGradient:
    """A linear ramp added to all channels, from −strength to +strength across the image."""

    plants: ClassVar[bool] = True

    strength: float = 0.15
    """Brightness added at the bright edge and taken away at the dark one, above 0 and at most 1 (the whole range)."""
    directions: int = 4
    """Directions that θ chooses from; with 4, a random key shows the same pictures as a constant one under rotation."""

    def __post_init__(self) -> None:
        check_number("shortcut.strength", self.strength, low=0, high=1, open_low=True)
        check_number("shortcut.directions", self.directions, low=1)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Brighten towards θ of a turn, counter-clockwise from up."""
        import torch

        angle = 2 * math.pi * (theta * self.directions).floor() / self.directions
        x, y = -torch.sin(angle)[:, None, None], -torch.cos(angle)[:, None, None]  # y points down
        side = images.shape[-1]
        across = (torch.arange(side, device=images.device) * 2 + 1) / side - 1
        ramp = (x * across[None, None, :] + y * across[None, :, None]) / (x.abs() + y.abs())
        return (images + self.strength * ramp[:, None]).clamp(0, 1)
