"""Plant nothing: the images as they come."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class NoShortcut:
    """The images as they come."""

    plants: ClassVar[bool] = False

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Return `images`."""
        return images
