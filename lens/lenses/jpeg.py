"""JPEG again and again until nothing changes: what was compressed so before comes out as what was not. It is told the quality."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class JpegProjection(Lens):
    """x → the fixed point of JPEG compression that x leads to: 4:4:4, blocks from the upper left corner.

    An image and the same image compressed at this quality lead to the same one, bit for bit, if it is the plant's own quality.
    """

    learns: ClassVar[bool] = False
    fixed: ClassVar[bool] = True

    quality: int = 40
    """libjpeg's quality, 1 to 100: that of the images that were compressed."""
    passes: int = 256
    """Passes, at most: the higher the quality and the larger the image, the more it needs."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        check_number("lens.quality", self.quality, low=1, high=100)
        check_number("lens.passes", self.passes, low=1, high=100_000)

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Each view compressed until nothing changes, or until the passes are used up."""
        from lens.operations.jpeg import settled

        return settled(views, self.quality, self.passes)[0]

    def unfinished(self, lensed: Tensor) -> Tensor:
        """The views that one more pass would change."""
        from lens.operations.jpeg import settled

        return ~settled(lensed, self.quality, 1)[1]
