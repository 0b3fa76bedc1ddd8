"""A lower resolution: what is finer no lens that stands after it can bring back, nor hide. It does not learn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.protocols.lens import Lens

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Downsample(Lens):
    """x → its means over blocks of `factor` × `factor` pixels, enlarged again (bilinear): a stage to stand before a lens that learns.

    Whatever comes after it is a function of the blocks' means: of two images that have the same means the same comes out, and nobody
    can tell them apart. Traces of a camera's mosaic, of sharpening or of resampling lie mostly in finer detail, not wholly. The lens
    after it learns to restore what images usually have there (super-resolution). Where a side is no multiple of `factor`, blocks overlap.
    """

    learns: ClassVar[bool] = False
    fixed: ClassVar[bool] = True

    factor: int = 2
    """Pixels on a side of a block, 2 to 16."""

    def __post_init__(self) -> None:
        """Raise BadInput for a setting outside its range."""
        check_number("lens.factor", self.factor, low=2, high=16)

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Each view at its own size, without what was finer than a block."""
        from torch.nn import functional

        height, width = views.shape[-2:]
        levels = (
            views * 255
        )  # whole numbers where images have 8 bits: sums are exact, and equal means equal to the last bit
        means = functional.adaptive_avg_pool2d(levels, (-(-height // self.factor), -(-width // self.factor))) / 255
        return functional.interpolate(means, (height, width), mode="bilinear", align_corners=False)
