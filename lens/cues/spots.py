"""The extreme pixels of each place of an image: hot and dead pixels, dust, small marks that always stand there."""

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

CELLS = 10
"""Rows and columns of the grid."""


@dataclasses.dataclass(frozen=True)
class Spots(Cue):
    """The brightest and the darkest pixel of each cell of a grid, and those with most and least of each colour against the others. A mean
    over the place would drown a single pixel."""

    order: ClassVar[float] = 42
    points_to: ClassVar[str] = "a point or a small mark in a fixed place, or what the pictures show there"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`most` and `least` (B, 4, 10, 10) of luminance, red − green, green − blue and blue − red in each cell, −1 to 1."""
        from torch.nn import functional

        planes = _planes(squares(pictures))
        return arrays(
            {
                "most": functional.adaptive_max_pool2d(planes, CELLS),
                "least": -functional.adaptive_max_pool2d(-planes, CELLS),
            }
        )


def _planes(images: Tensor) -> Tensor:
    """Luminance and the three differences of colours of images (B, 3, H, W): (B, 4, H, W)."""
    import torch

    from lens.operations import shrinking

    return torch.cat([shrinking.luminance(images), images - images.roll(-1, dims=1)], dim=1)
