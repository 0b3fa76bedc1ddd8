"""The border of an image: frames, black bars, what scanners and screenshots leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._squares import arrays, squares
from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Border(Cue):
    """A strip of an eighth of the side along all four edges; the inside is grey."""

    order: ClassVar[float] = 40
    points_to: ClassVar[str] = "frames, bars or vignetting at the border, or the background"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares with the inside at 0.5: same shape."""
        width = max(1, squares.shape[2] // 8)
        found = squares.clone()
        found[:, :, width:-width, width:-width] = 0.5
        return found

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By side (above, below, left, right): `line` and `spread` (B, 3, 4, 4), mean and deviation of the four outermost lines;
        `place` (B, 3, 4, 8), the strip's mean in eight parts along the edge."""
        import torch
        from torch.nn import functional

        images = squares(pictures)
        sides = torch.stack([images, images.flip(2), images.mT, images.mT.flip(2)], dim=2)  # (B, 3, side, depth, along)
        lines = sides[:, :, :, : min(4, sides.shape[3])]
        strip = sides[:, :, :, : max(1, sides.shape[3] // 8)].mean(dim=3)
        place = functional.adaptive_avg_pool2d(strip, (4, 8))
        return arrays({"line": lines.mean(dim=4), "spread": lines.std(dim=4, unbiased=False), "place": place})
