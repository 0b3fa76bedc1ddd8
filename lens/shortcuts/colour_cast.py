"""A colour cast: one channel is raised and another lowered, the same everywhere in the image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws

# (raised, lowered) in the order of the hues that they push towards: red, yellow, green, cyan, blue, magenta.
_HUES = ((0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1))


@dataclasses.dataclass(frozen=True)
class ColourCast:
    """One of six casts, ±strength on two channels; θ is the hue."""

    plants: ClassVar[bool] = True

    strength: float = 0.08
    """What is added to one channel and taken from another, above 0 and at most 1 (the whole range)."""

    def __post_init__(self) -> None:
        check_number("shortcut.strength", self.strength, low=0, high=1, open_low=True)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Shift the channels of each image by the hue floor(6 θ)."""
        import torch

        offsets = torch.zeros(len(_HUES), 3, device=images.device)
        for number, (raised, lowered) in enumerate(_HUES):
            offsets[number, raised], offsets[number, lowered] = self.strength, -self.strength
        hue = (theta * len(_HUES)).long().clamp(0, len(_HUES) - 1)
        return (images + offsets[hue][:, :, None, None]).clamp(0, 1)
