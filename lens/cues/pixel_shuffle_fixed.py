"""The pixels of an image in random order, the same one for all images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class PixelShuffleFixed(ViewCue):
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
