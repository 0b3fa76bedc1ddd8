"""The four corners of an image: where marks, dates and letters stand."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Corners(ViewCue):
    """Four squares of a quarter of the side, put together: their content is mostly background."""

    order: ClassVar[float] = 41
    points_to: ClassVar[str] = "marks, letters or vignetting in the corners, or the background"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The corners (B, 3, S/2, S/2), each in its own corner."""
        import torch

        side = max(1, squares.shape[2] // 4)
        rows = torch.cat([squares[:, :, :side], squares[:, :, -side:]], dim=2)
        return torch.cat([rows[..., :side], rows[..., -side:]], dim=3)
