"""The middle of an image, where its subject is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Centre(ViewCue):
    """The square of half the side in the middle: no border, no corner, no mark on them."""

    order: ClassVar[float] = 63
    points_to: ClassVar[str] = (
        "what the pictures show in the middle, or how they were acquired as a whole; not marks at the border"
    )
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The middle of the squares (B, 3, S/2, S/2)."""
        side = squares.shape[2]
        first, last = side // 4, side // 4 + max(1, side // 2)
        return squares[:, :, first:last, first:last]
