"""JPEG compression, as libjpeg does it without chroma subsampling (4:4:4)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import BadInput, check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """Blocks of 8×8, quantised and rounded hard; θ moves the quality from `quality` (0) towards `highest` (1)."""

    plants: ClassVar[bool] = True

    quality: int = 40
    """libjpeg's quality at θ = 0, 1 to 100."""
    highest: int = 90
    """libjpeg's quality that θ → 1 approaches, from `quality` to 100."""

    def __post_init__(self) -> None:
        check_number("shortcut.quality", self.quality, low=1, high=100)
        check_number("shortcut.highest", self.highest, low=1, high=100)
        if self.highest < self.quality:
            raise BadInput(f"--shortcut.highest {self.highest} is below --shortcut.quality {self.quality}: swap them")

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Compress and decompress each image at its own quality: the result lies on 8-bit levels."""
        from lens.operations.jpeg import compressed

        return compressed(images, (self.quality + theta.double() * (self.highest - self.quality)).round())
