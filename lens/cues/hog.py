"""Histograms of oriented gradients: which way edges run, place by place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._squares import arrays, squares
from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    import numpy as np

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Hog(Cue):
    """Shares of nine directions in 6×6 cells (Dalal & Triggs 2005; Zeng, Yin & Liu 2024: 79.0 to 79.9 %, chance 33.3)."""

    order: ClassVar[float] = 65
    points_to: ClassVar[str] = "shapes: what the pictures show, or something drawn on them"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`direction` (B, 9, 6, 6): shares of the gradient around each cell."""
        from lens.operations import hog, shrinking

        return arrays({"direction": hog.oriented(shrinking.luminance(squares(pictures)), cells=6)})
