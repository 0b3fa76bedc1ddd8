"""The interface of a shortcut: a cue that can be planted in images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lens.base.errors import BadInput
from lens.protocols.composition import Composed

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class Composition(Composed):
    """Cues planted one after the other, all with one θ: where one is, the others are too."""

    KIND: ClassVar[str] = "shortcut"
    plants: ClassVar[bool] = True

    @classmethod
    def traits(cls, parts: Mapping[str, type[Shortcut]]) -> dict[str, Any]:
        """Raises BadInput where one of them plants nothing."""
        for name, part in parts.items():
            if not part.plants:
                raise BadInput(f"--shortcut {'+'.join(parts)}: {name} plants nothing: drop it")
        return {}

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """As `Shortcut.plant`."""
        for stage in self.stages:
            images = stage.plant(images, theta, draws)
        return images


def each_of(name: str, shortcut: Shortcut) -> dict[str, Shortcut]:
    """The cues that a shortcut of this name plants, by their names: of several each, in their order."""
    return shortcut.named_stages if isinstance(shortcut, Composition) else {name: shortcut}
