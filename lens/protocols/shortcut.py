"""The interface of a shortcut: a cue that can be planted in images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


class Shortcut(Protocol):
    """A cue that can be planted in images.

    `plants` is False only for the shortcut that plants nothing.
    """

    plants: ClassVar[bool]

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Images (V, C, H, W) in [0, 1] and the cue's parameter (V,) in [0, 1) → planted images, same range.

        `draws` are for what is random whatever the key says: a watermark's place.
        """
