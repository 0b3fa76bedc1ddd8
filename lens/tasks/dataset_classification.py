"""Which data set does the picture come from? The sources of --data are the classes."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from lens.tasks._classes import OfData


@dataclasses.dataclass(frozen=True)
class DatasetClassification(OfData):
    """Dataset classification (Torralba & Efros 2011; Liu & He, arXiv 2403.08632): cross-entropy on the image's source.

    Every source is asked about equally often, whatever its size: in training each has the same share of an epoch, in
    measurements the accuracy is the mean of the sources' accuracies. With two sources the least likely class is the
    other one, and a lens can simply swap them: `--adversary` is then `uniform` unless told otherwise.
    """

    answer: ClassVar[str] = "source"
