"""A sensor's noise: each pixel a little off, afresh in every image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Grain:
    """Gaussian noise of one strength on all channels."""

    plants: ClassVar[bool] = True

    strength: float = 0.02
    """Its standard deviation, of the whole range."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        noise = draws.normal("grain", *images.shape[1:]).to(images)
        return (images + self.strength * noise).clamp(0, 1)
