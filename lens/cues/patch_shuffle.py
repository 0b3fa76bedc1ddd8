"""The patches of an image in random order: texture without layout."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number
from lens.cues._squares import ViewCue

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class PatchShuffle(ViewCue):
    """Square patches shuffled image by image (Zeng, Yin & Liu 2024, 16 px of 224: 80.1 %): local texture, without where it is."""

    order: ClassVar[float] = 52
    points_to: ClassVar[str] = "texture and local detail: sharpening, compression, noise, or materials"
    acquisition: ClassVar[bool | None] = None

    patch: int = 4
    """The side of a patch in pixels, 2 to 16; a square is cut down to whole patches."""

    def __post_init__(self) -> None:
        """Raise BadInput for a patch outside its range."""
        check_number("cue.patch", self.patch, low=2, high=16)

    def view(self, squares: Tensor, draws: Draws) -> Tensor:
        """The squares' whole patches in a random order of each image's own: (B, 3, s, s), s the side in whole patches."""
        from einops import rearrange

        side = squares.shape[2] // self.patch
        whole = squares[:, :, : side * self.patch, : side * self.patch]
        patches = rearrange(whole, "b c (h y) (w x) -> b (h w) (c y x)", y=self.patch, x=self.patch)
        order = draws.uniform("patch shuffle", side * side, per_image=True).argsort(dim=1)
        shuffled = patches.gather(1, order[:, :, None].expand_as(patches))
        return rearrange(shuffled, "b (h w) (c y x) -> b c (h y) (w x)", h=side, y=self.patch, x=self.patch)
