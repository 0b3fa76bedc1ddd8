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


@dataclasses.dataclass(frozen=True)
class Quantisation(Cue):
    """Combs in the histograms of the 8×8 DCT of luminance and of chroma, as three samplings would have stored it, of the middle 256×256."""

    kind: ClassVar[Kind] = "history"
    order: ClassVar[float] = 10
    points_to: ClassVar[str] = "JPEG compression and its quality"

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """By plane (luminance, chroma as 4:4:4, 4:2:2, 4:2:0): `quality`, 1 to 100, whose table fits best, `fit` how well, and
        `fits` of 23 qualities, in nats a coefficient; `empty`, the share of zeros in 15 diagonals of frequencies."""
        return by_crop(pictures, _statistics)


def _statistics(images: Tensor) -> Mapping[str, Tensor]:
    """Crops (b, 3, h, w), levels 0 to 255 → the numbers of `describe`."""
    import torch

    from lens.operations import dct_histograms

    planes = {"luminance": dct_histograms.of_luminance(images)}
    planes |= {f"chroma_{name}": dct_histograms.of_chroma(images, name) for name in dct_histograms.SAMPLINGS}
    found = {}
    for name, histogram in planes.items():
        fits, count = dct_histograms.by_quality(histogram, chroma=name != "luminance")
        best, place = fits.max(dim=1)
        found[f"{name}_fit"] = best
        # Where no coefficient is above 0 nothing speaks for any quality.
        found[f"{name}_quality"] = torch.where(count > 0, place.float() + 1, torch.nan)
        found[f"{name}_fits"] = fits[:, [quality - 1 for quality in QUALITIES]]
        found[f"{name}_empty"] = _empty(histogram)
    return found


def _empty(histogram: Tensor) -> Tensor:
    """Histograms (b, 64, N) → the share of zeros on each of the 15 diagonals: (b, 15)."""
    import torch

    n = torch.arange(8)
    diagonal = torch.nn.functional.one_hot((n[:, None] + n).flatten(), 15).to(histogram)
    return histogram[..., 0] @ diagonal / (histogram.sum(dim=2) @ diagonal).clamp(min=1)
