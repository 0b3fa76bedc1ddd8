"""Interlacing: every other row is a little lighter."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Rows:
    """Even rows are raised, odd ones lowered."""

    plants: ClassVar[bool] = True

    strength: float = 0.02
    """By how much, of the whole range."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        import torch

        sign = 1 - 2 * (torch.arange(images.shape[-2], device=images.device) % 2).to(images)
        return (images + self.strength * sign[:, None]).clamp(0, 1)
