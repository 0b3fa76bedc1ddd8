"""A colour filter's mosaic: each pixel measured one colour, the other two are interpolated."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Mosaic:
    """Bayer's pattern (red, green; green, blue), its gaps filled with the mean of the 3×3 neighbours that measured the colour."""

    plants: ClassVar[bool] = True

    share: float = 0.5
    """How much of what was interpolated takes the place of the picture, above 0 and at most 1."""

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        import torch
        from torch.nn.functional import avg_pool2d

        rows, columns = (torch.arange(size, device=images.device) % 2 == 1 for size in images.shape[-2:])
        red, blue = ~rows[:, None] & ~columns[None, :], rows[:, None] & columns[None, :]
        measured = torch.stack([red, ~red & ~blue, blue]).to(images)[None]
        known = avg_pool2d(images * measured, 3, 1, 1) / avg_pool2d(measured, 3, 1, 1).clamp(min=1e-6)
        interpolated = torch.where(measured > 0, images, known)
        return images + self.share * (interpolated - images)
