"""How often each colour occurs, wherever it does."""

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
class ColourHistogram(Cue):
    """Histograms of each channel, and of colours in 4×4×4 boxes of the colour cube: no place, no shape."""

    order: ClassVar[float] = 31
    points_to: ClassVar[str] = "colour, contrast and exposure"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`channel` (B, 3, 24) and `box` (B, 64): shares of the square's pixels."""
        import torch

        from lens.operations.description import histogram

        images = squares(pictures)
        level = (images.flatten(2) * 4).long().clamp(max=3)  # (B, 3, pixels)
        box = level[:, 0] * 16 + level[:, 1] * 4 + level[:, 2]
        counts = torch.zeros(len(images), 64).scatter_add_(1, box, torch.ones_like(box, dtype=torch.float32))
        return arrays({"channel": histogram(images, 24), "box": counts / box.shape[1]})
