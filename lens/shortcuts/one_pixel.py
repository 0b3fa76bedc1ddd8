"""One pixel set to a pure colour; θ says where, and to which."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class OnePixel:
    """One pixel at a corner of the colour cube, place and colour drawn once for each θ (Wu et al., ICLR 2023,
    "One-pixel shortcut").

    With the key `label` every class has its own: a network learns it before anything else, and fails on clean images.
    (Each is drawn by itself: of ten classes two have the very same dot in one seed of 180 at 32 px.)
    """

    plants: ClassVar[bool] = True

    size: int = 1
    """Side of the dot in pixels at a side of 32 px, in proportion at others (at least one pixel); 1 to 16."""

    def __post_init__(self) -> None:
        check_number("shortcut.size", self.size, low=1, high=16)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Set each image's dot."""
        import torch

        from lens.base.draws import of_theta

        side = images.shape[-1]
        dot = max(1, round(self.size * side / 32))
        chance = of_theta(draws, theta).uniform("one pixel", 5, per_image=True)
        corner = (chance[:, :2] * (side - dot + 1)).long().clamp(max=side - dot)
        colour = (chance[:, 2:] < 0.5).to(images)
        place = torch.arange(side, device=images.device)[None] - corner[:, :, None]  # (V, 2, side)
        inside = (place >= 0) & (place < dot)
        where = inside[:, 0, :, None] & inside[:, 1, None, :]
        return torch.where(where[:, None], colour[:, :, None, None], images)
