"""A scanner's border: the outermost pixels are darker."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of 1 px at a side of 32 px, in proportion at others."""

    plants: ClassVar[bool] = True

    strength: float = 0.25
    """Share of the light that is lost there."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        side = images.shape[-1]
        width = max(1, round(side / 32))
        darker = images * (1 - self.strength)
        darker[..., width : side - width, width : side - width] = images[
            ..., width : side - width, width : side - width
        ]
        return darker
