"""Traces of resizing: what is interpolated repeats itself."""

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

EDGE = 60.0
"""Second differences, in levels, are cut off at this."""
FINE = 512
"""Points of the transform."""
BANDS = 32


@dataclasses.dataclass(frozen=True)
class Resampling(Cue):
    """The mean second difference of each row and column is periodic after resizing (Gallagher 2005; Popescu & Farid 2005): its
    spectrum, of the middle 256×256. Where compression in blocks was resized, its grid shows at another rate."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 13
    points_to: ClassVar[str] = "resizing, upsampling or demosaicing"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By way (down, across): `periodic` (B, 32), the log of the strongest of each 1/64 cycle a pixel against the middle one of all;
        `peak` and `height` of the strongest. Multiples of 1/16 are left out: they are the blocks' of compression."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    from lens.operations import repetition, shrinking

    grey = shrinking.luminance(images)[:, 0]
    found = {}
    for way, turned in (("down", grey), ("across", grey.mT)):
        change = turned.diff(n=2, dim=1).abs().clamp(max=EDGE).mean(dim=2)  # (b, H − 2)
        change = repetition.against_around(change, 9)
        window = torch.hann_window(change.shape[1], periodic=False)
        power = torch.fft.rfft(change * window, n=FINE, dim=1).abs()[:, 1:]  # (b, FINE / 2)
        power = power / power.median(dim=1, keepdim=True).values.clamp(min=1e-6)
        cycles = torch.arange(1, FINE // 2 + 1) / FINE
        power = power.masked_fill(((cycles * 16).round() / 16 - cycles).abs() < 0.008, 0)
        found[f"periodic_{way}"] = (power.view(len(power), BANDS, -1).amax(dim=2) + 1e-3).log()
        height, peak = power.max(dim=1)
        found[f"height_{way}"], found[f"peak_{way}"] = (height + 1e-3).log(), cycles[peak]
    return found
