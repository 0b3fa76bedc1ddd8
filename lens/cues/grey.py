"""An image without its colours."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Grey(ViewCue):
    """Luminance alone: where it tells as much as the whole image, colour is not what gives the sources away."""

    order: ClassVar[float] = 62
    points_to: ClassVar[str] = "brightness, layout and what the pictures show; not colour"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares' luminance (B, 1, S, S)."""
        from lens.operations import shrinking

        return shrinking.luminance(squares)
