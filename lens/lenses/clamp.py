"""Values near black and white are brought to one level: where a shifted colour was clipped, it no longer shows. It does not learn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Clamp(Lens):
    """x → min(max(x, margin), 1 − margin): a stage to stand after a lens that moves colours (`--lens colour+clamp`).

    A cast that moved a channel by up to c, and was clipped at black or white, cannot be moved back: what lay within c of the
    end is flat for good, and says that it was moved. With a margin of c all images are flat there, moved or not: of a shift by
    a constant, min(x + c, 1) − c = min(x, 1 − c). Told how far colours were moved, it takes that much contrast from every image.
    """

    learns: ClassVar[bool] = False
    fixed: ClassVar[bool] = True

    margin: float = 0.08
    """How much of the range [0, 1] is taken at each end, above 0 and below 0.5; the default is the strength of `colour_cast`."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        check_number("lens.margin", self.margin, low=0, high=0.5, open_low=True, open_high=True)

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Each view at its own size, in [margin, 1 − margin]."""
        return views.clamp(self.margin, 1 - self.margin)
