"""What the lens changed."""

from __future__ import annotations

import dataclasses

from lens.results.figure import Estimate, figure
from lens.results.result import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Result):
    """What the lens changed, at 8 bits: over every view, and over those that carry the planted cue (`_planted`).

    Mean squared error on [0, 1], PSNR in dB, SSIM. A PSNR is None where nothing changed: it would be infinite.
    """

    psnr: Estimate | None = figure(unit="dB", validation_part=True, of_images="val_images")
    psnr_planted: Estimate | None = figure(unit="dB", validation_part=True, of_images="val_images")
    ssim: Estimate | None = figure(unit="", validation_part=True, of_images="val_images")
    mse: Estimate | None = figure(unit="", digits=5, validated=False)
    mse_planted: Estimate | None = figure(unit="", digits=5, validated=False)
