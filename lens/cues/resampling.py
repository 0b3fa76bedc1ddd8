"""Traces of resizing: what is interpolated repeats itself, and lacks the finest detail."""

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
    spectrum, of the middle 256×256; and the power of luminance in rings."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 13
    points_to: ClassVar[str] = "resizing, upsampling or demosaicing"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By way (down, across): `periodic` (B, 32), the log of the strongest of each 1/64 cycle a pixel against the middle one,
        `peak` and `height` of the strongest off the 8 px grid; `rings` (B, 24) log power, and `finest` its fall at the end."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    from lens.operations import shrinking, spectra

    grey = shrinking.luminance(images)[:, 0]
    found = {}
    for way, turned in (("down", grey), ("across", grey.mT)):
        change = turned.diff(n=2, dim=1).abs().clamp(max=EDGE).mean(dim=2)  # (b, H − 2)
        smooth = torch.nn.functional.avg_pool1d(change[:, None], 9, stride=1, padding=4, count_include_pad=False)[:, 0]
        change = change / (smooth + 0.01) - 1  # what a picture shows varies slowly
        window = torch.hann_window(change.shape[1], periodic=False)
        power = torch.fft.rfft(change * window, n=FINE, dim=1).abs()[:, 1:]  # (b, FINE / 2)
        power = power / power.median(dim=1, keepdim=True).values.clamp(min=1e-6)
        found[f"periodic_{way}"] = (power.view(len(power), BANDS, -1).amax(dim=2) + 1e-3).log()
        cycles = torch.arange(1, FINE // 2 + 1) / FINE
        blocks = ((cycles * 8).round() / 8 - cycles).abs() < 0.01
        height, peak = power.masked_fill(blocks, 0).max(dim=1)
        found[f"height_{way}"], found[f"peak_{way}"] = (height + 1e-3).log(), cycles[peak]
    rings = spectra.rings(spectra.power(grey), 24)
    return found | {"rings": rings, "finest": rings[:, 12:].diff(dim=1)}
