"""A border that is replaced by what is just inside it: a scanner's edge, a frame, a line of text at the margin. It does not learn."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Border(Lens):
    """x → the same with each pixel of a border replaced by the nearest pixel inside it: alone, or before a lens that learns.

    What comes out is a function of the inside: of two images that differ in the border alone the same comes out, and nobody
    can tell them apart, whatever stood there. It is told how wide the border is, and takes it from every image, marked or not.
    """

    learns: ClassVar[bool] = False
    fixed: ClassVar[bool] = True

    share: float = 1 / 32
    """Width on each edge, as a share of the shorter side, above 0 and at most 0.25; rounded up to whole pixels."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        check_number("lens.share", self.share, low=0, high=0.25, open_low=True)

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Each view at its own size, its border gone."""
        from torch.nn import functional

        height, across = views.shape[-2:]
        side = min(height, across)
        wanted = math.ceil(round(self.share * side, 6))  # 0.1 · 30 is 3.0000000000000004
        width = min(wanted, (side - 1) // 2)  # a pixel inside is left
        inside = views[..., width : height - width, width : across - width]
        return functional.pad(inside, (width, width, width, width), mode="replicate")
