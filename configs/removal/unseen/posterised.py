"""Fewer levels: as a palette, a video codec's depth or a careless converter leaves them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Posterised:
    """Each value rounded to one of 2**bits levels."""

    plants: ClassVar[bool] = True

    bits: int = 5
    """Bits a channel, 1 to 8."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        levels = 2**self.bits - 1
        return (images.clamp(0, 1) * levels).round() / levels
