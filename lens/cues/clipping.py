"""The ends of an image's levels, and levels that never occur: exposure, casts and tone curves cut and stretch them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lens.cues._native import by_crop
from lens.protocols.cue import Cue, Kind, Picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

PAIRS = ((0, 1), (1, 2), (0, 2))
"""Red with green, green with blue, red with blue."""


@dataclasses.dataclass(frozen=True)
class Clipping(Cue):
    """Counted levels of each channel of the middle 256×256."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 15
    points_to: ClassVar[str] = "exposure, colour casts, contrast stretching or a change of bit depth"
    acquisition: ClassVar[bool | None] = None

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By channel: `least`, `greatest`, the shares `at_least`, `at_greatest`; `low` and `high`, the shares of the eight outermost levels
        at each end; `used`, distinct levels of those between the ends; `even`; `uneven`, how ragged the counts are, at four spacings.
        `ends_apart`, the differences of the channels' ends; `grey`, the share of pixels without colour; `clipped` (B, 2, 4), that of
        pixels with none to three channels at 0, and at 255."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    flat = images.flatten(2)
    first = torch.arange(len(images) * 3).view(-1, 3, 1) * 256
    counts = torch.bincount((flat.long() + first).flatten(), minlength=len(images) * 768).view(-1, 3, 256).float()
    share = counts / flat.shape[2]
    least, greatest = flat.amin(dim=2), flat.amax(dim=2)
    ends = torch.stack([least, greatest], dim=1)  # (b, 2, 3)
    at = [share.gather(2, end.long()[..., None])[..., 0] for end in (least, greatest)]
    shown = (share + 1e-4).log()
    uneven = [
        (shown[..., n:-n] - (shown[..., 2 * n :] + shown[..., : -2 * n]) / 2).abs().mean(dim=2) for n in (1, 2, 3, 4)
    ]
    clipped = [((flat == level).sum(dim=1)[..., None] == torch.arange(4)).float().mean(dim=1) for level in (0, 255)]
    return {
        "least": least,
        "greatest": greatest,
        "at_least": at[0],
        "at_greatest": at[1],
        "low": share[..., :8],
        "high": share[..., -8:],
        "used": (counts > 0).sum(dim=2) / (greatest - least + 1),
        "even": share[..., ::2].sum(dim=2),
        "uneven": torch.stack(uneven, dim=2),
        "ends_apart": torch.stack([ends[..., a] - ends[..., b] for a, b in PAIRS], dim=2),
        "grey": (flat.amax(dim=1) == flat.amin(dim=1)).float().mean(dim=1),
        "clipped": torch.stack(clipped, dim=1),
    }
