"""The steps that coefficients of JPEG were rounded to, read from pixels: a PNG copy does not hide them."""

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

QUALITIES = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 88, 90, 92, 95, 97, 99)
"""Qualities of libjpeg whose fits are told one by one."""
PLANES = ("luminance", "4:4:4", "4:2:0")
MOST = 6.0
"""Deviations beyond which a fit is no surer: how many coefficients a picture has is no history."""
LEAST = 4.0
"""Deviations from which the best of 100 qualities is no chance."""


@dataclasses.dataclass(frozen=True)
class Quantisation(Cue):
    """Combs in the histograms of the 8×8 DCT of luminance and of chroma, as two samplings would have stored it, of the middle 256×256,
    against those of the same picture on a shifted grid, which does not ask what it shows."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 10
    points_to: ClassVar[str] = "JPEG compression and its quality"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By plane (luminance, chroma as 4:4:4, chroma as 4:2:0): `fits` of 23 qualities, in deviations, at most 6; `fit`, the best of all
        100, and `quality`, which it is, NaN where it fits no better than chance."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    from lens.operations.dct_histograms import by_quality, histogram
    from lens.operations.jpeg_planes import LUMINANCE, planes

    found = {}
    for plane_name, plane in planes(images, PLANES).items():
        is_chroma = plane_name != LUMINANCE
        name = f"chroma_{plane_name}" if is_chroma else plane_name
        fits = by_quality(histogram(plane), histogram(plane.off_grid()), is_chroma)
        best, place = fits.max(dim=1)
        found[f"{name}_fit"] = best.clamp(max=MOST)
        found[f"{name}_quality"] = torch.where(best > LEAST, place.float() + 1, torch.nan)
        found[f"{name}_fits"] = fits[:, [quality - 1 for quality in QUALITIES]].clamp(-MOST, MOST)
    return found
