"""Which data set does the picture come from? The sources of --data are the classes."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from lens.tasks._classes import OfData


@dataclasses.dataclass(frozen=True)
class DatasetClassification(OfData):
    """Dataset classification (Torralba & Efros 2011; Liu & He, arXiv 2403.08632): cross-entropy on the image's source.

    Every source is asked about equally often, whatever its size: in training each has the same share of an epoch, in
    measurements the accuracy is the mean of the sources' accuracies. With two sources the least likely class is the
    other one, and a lens can simply swap them: `--objective` is then `uniform` unless told otherwise.

    `defaults` is how a lens and an extractor of every pixel keep pace: chosen by what a strong extractor, trained on after
    the lens had stopped, still read (results/removal.md). Noise of 0.04 left less to read than the 0.03 here, which leaves
    the lens more of a PSNR of 25.5 dB to edit with.
    """

    answer: ClassVar[str] = "source"
    defaults: ClassVar[dict[str, Any]] = {
        "extractor": "all_conv", "lens.depth": 3, "feed": "lensed", "lens_update_every": 2,
        "lr_schedule": "constant", "adam_beta1": 0.5, "lens_ema": 0.99, "lr": 2e-3, "lens_lr": 1e-3, "steps": 1000,
        "lens_noise": 0.03, "batch_size": 16,
    }  # fmt: skip
