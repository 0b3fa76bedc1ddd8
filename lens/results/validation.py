"""What was asked about validation images, to choose by."""

from __future__ import annotations

import dataclasses

from lens.results.figure import Number, figure
from lens.results.result import Result, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation(Result):
    """The last evaluation on validation images: accuracies in [0, 1] or losses, PSNR in dB, of `images` of `of_images`.

    They are the twins of the figures of these names that were measured on test images.
    """

    raw: Number = None
    lensed: Number = None
    clean: Number = None
    psnr: Number = None
    psnr_planted: Number = optional()
    ssim: Number = optional()
    gap: Number = None
    images: int | None = figure("val_images", unit="count", interval=False, validated=False)
    of_images: int | None = None
