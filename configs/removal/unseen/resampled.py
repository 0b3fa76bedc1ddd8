"""Resampling: made smaller and large again, which leaves a periodic blur."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Resampled:
    """Bilinear to a share of the side and back."""

    plants: ClassVar[bool] = True

    share: float = 0.6
    """Side of the smaller picture, as a share."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        from torch.nn.functional import interpolate

        side = images.shape[-1]
        small = interpolate(images, size=round(side * self.share), mode="bilinear", antialias=True)
        return interpolate(small, size=side, mode="bilinear").clamp(0, 1)
