"""The pixels of an image in random order, another one for each image: its colours without any place."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class PixelShuffle(ViewCue):
    """Pixels shuffled image by image (Zeng, Yin & Liu 2024: 52.2 %, chance 33.3): what a network finds in the colours alone."""

    order: ClassVar[float] = 32
    points_to: ClassVar[str] = "colour, contrast and exposure"
    acquisition: ClassVar[bool | None] = None

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares' pixels in a random order of each image's own: same shape."""
        pixels = squares.shape[2] * squares.shape[3]
        order = draws.uniform("pixel shuffle", pixels, per_image=True).argsort(dim=1)
        flat = squares.flatten(2)
        return flat.gather(2, order[:, None].expand_as(flat)).view_as(squares)
