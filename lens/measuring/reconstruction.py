"""What a lens changed in held-out images: squared error, PSNR and SSIM, with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.measuring import resampling
from lens.measuring.pretext import Answers
from lens.operations import quality
from lens.results.figure import Estimate
from lens.results.reconstruction import Reconstruction

NOTHING = Estimate(None)


def summary(result: Answers, seed: int) -> Reconstruction:
    """What the lens changed, at 8 bits: pooled mean squared error on [0, 1], PSNR in dB and SSIM, each with a 95 % interval.

    They are over every view; `mse_planted` and `psnr_planted` over those that carry the planted cue, None where none does.
    PSNR is None where it would be infinite, everything where there is no lens.
    """
    if "lensed" not in result.score:
        return Reconstruction(mse=NOTHING, psnr=NOTHING, mse_planted=NOTHING, psnr_planted=NOTHING, ssim=NOTHING)
    every = np.full(len(result.group), float(result.views))
    sums = [("", result.squared_error, every)]
    if result.planted_views.any():
        sums.append(("_planted", result.planted_squared_error, result.planted_views))
    found: dict[str, Any] = {"mse_planted": NOTHING, "psnr_planted": NOTHING}
    for which, error, views in sums:
        mse = float(error.sum() / views.sum())
        mse_ci = resampling.bootstrap(error[views > 0], views[views > 0], result.group[views > 0], seed)
        found[f"mse{which}"] = Estimate(mse, mse_ci)
        found[f"psnr{which}"] = Estimate(quality.psnr(mse), resampling.psnr_interval(mse_ci))
    ssim = float(result.ssim.sum() / every.sum())
    ssim_ci = resampling.bootstrap(result.ssim, every, result.group, seed)
    return Reconstruction(**found, ssim=Estimate(ssim, ssim_ci))
