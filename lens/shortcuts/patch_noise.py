"""A pattern of coloured blocks, hardly seen; θ says which."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class PatchNoise:
    """Blocks of colour drawn once for each θ from a normal, a little of them new in each image (Yu et al. 2022,
    "Availability attacks create shortcuts").

    With the key `label` every class has its own: a network learns it before anything else, and fails on clean images.
    """

    plants: ClassVar[bool] = True

    strength: float = 1.3
    """L2 norm of the change at 32 px, levels in [0, 1] (32.6 dB), the same change a pixel at other sizes; above 0, at most 10."""
    block: int = 4
    """Side of a block in pixels at a side of 32 px, in proportion at others; 1 to 16."""
    own: float = 0.1
    """Share of the pattern's energy that is new in each image, 0 to 1."""

    def __post_init__(self) -> None:
        check_number("shortcut.strength", self.strength, low=0, high=10, open_low=True)
        check_number("shortcut.block", self.block, low=1, high=16)
        check_number("shortcut.own", self.own, low=0, high=1)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Add each image's pattern, clipped to the range."""
        import torch
        from torch.nn import functional

        from lens.base.draws import of_theta

        cells = -(-32 // self.block)
        shape = (3, cells, cells)
        shared = of_theta(draws, theta).normal("patch noise", *shape, per_image=True)
        new = draws.normal("patch noise, own", *shape, per_image=True)
        pattern = (1 - self.own) ** 0.5 * shared + self.own**0.5 * new
        pattern = functional.interpolate(pattern.to(images), size=images.shape[-2:], mode="nearest")
        size = pattern.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        level = self.strength / (3 * 32 * 32) ** 0.5
        return torch.clamp(images + pattern / size * level, 0, 1)
