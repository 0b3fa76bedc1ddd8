"""What a lens changed in held-out images: squared error, PSNR and SSIM, with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.measuring import resampling
from lens.measuring.pretext import Pretext
from lens.operations import quality

CHANGES = ("mse", "psnr", "mse_planted", "psnr_planted", "ssim")
"""What `summary` tells, each with its interval NAME_ci."""


def summary(result: Pretext, seed: int) -> dict[str, Any]:
    """What the lens changed, at 8 bits: pooled mean squared error on [0, 1], PSNR in dB and SSIM, each with a 95 % interval.

    They are over every view; `mse_planted` and `psnr_planted` over those that carry the planted cue, None where none does.
    PSNR is None where it would be infinite, everything where there is no lens.
    """
    found: dict[str, Any] = dict.fromkeys(name for each in CHANGES for name in (each, f"{each}_ci"))
    if "lensed" not in result.score:
        return found
    every = np.full(len(result.group), float(result.views))
    sums = [("", result.squared_error, every)]
    if result.planted_views.any():
        sums.append(("_planted", result.planted_squared_error, result.planted_views))
    for which, error, views in sums:
        mse = float(error.sum() / views.sum())
        mse_ci = resampling.bootstrap(error[views > 0], views[views > 0], result.group[views > 0], seed)
        found |= {f"mse{which}": mse, f"mse{which}_ci": mse_ci}
        found |= {f"psnr{which}": quality.psnr(mse), f"psnr{which}_ci": resampling.psnr_interval(mse_ci)}
    found["ssim"] = float(result.ssim.sum() / every.sum())
    found["ssim_ci"] = resampling.bootstrap(result.ssim, every, result.group, seed)
    return found
