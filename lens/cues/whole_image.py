"""The whole image, as a network is given it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._squares import ViewCue, arrays, squares
from lens.protocols.cue import Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class WholeImage(ViewCue):
    """Nothing is taken away: what the other rows are compared with."""

    order: ClassVar[float] = 100
    points_to: ClassVar[str] = "anything that is in the pixels"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares themselves (B, 3, S, S)."""
        return squares

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """The description of any image (`operations/description.py`), and `layout` (B, 3, 12, 12), its pixels at that size."""
        from lens.operations import shrinking

        return {**super().describe(pictures, draws), **arrays({"layout": shrinking.thumbnails(squares(pictures), 12)})}
