"""The pixels of an image in random order, the same one for all images."""

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

CELLS = 7
"""Rows and columns of the cells that the shuffled pixels are described by."""


@dataclasses.dataclass(frozen=True)
class PixelShuffleFixed(Cue):
    """Pixels shuffled alike in all images (Zeng, Yin & Liu 2024: 58.5 %, chance 33.3): colour, and what stands in a fixed place."""

    order: ClassVar[float] = 33
    points_to: ClassVar[str] = "colour, or something that stands in the same place in every image"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares' pixels in one random order, that of `draws.seed`: same shape."""
        import torch

        from lens.base.draws import generator

        order = torch.randperm(squares.shape[2] * squares.shape[3], generator=generator(draws.seed, 0, "pixel shuffle"))
        return squares.flatten(2)[:, :, order.to(squares.device)].view_as(squares)

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`mean`, `least` and `greatest` (B, 3, 7, 7) of each cell, always the same places: one pixel that is always black is seen."""
        from torch.nn import functional

        view = self.view(squares(pictures), draws)
        return arrays(
            {
                "mean": functional.adaptive_avg_pool2d(view, CELLS),
                "least": -functional.adaptive_max_pool2d(-view, CELLS),
                "greatest": functional.adaptive_max_pool2d(view, CELLS),
            }
        )
