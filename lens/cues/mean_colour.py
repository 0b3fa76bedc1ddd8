"""The mean colour of an image: three numbers."""

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
class MeanColour(Cue):
    """Mean red, green and blue of the square, and nothing else (Zeng, Yin & Liu 2024 read 48.5 % of three sources, chance 33.3)."""

    order: ClassVar[float] = 30
    points_to: ClassVar[str] = "colour and exposure"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The image filled with its mean colour (B, 3, S, S)."""
        return squares.mean(dim=(2, 3), keepdim=True).expand_as(squares)

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`mean_colour` (B, 3), in levels of 255."""
        return arrays({"mean_colour": squares(pictures).double().mean(dim=(2, 3)) * 255})
