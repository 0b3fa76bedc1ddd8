"""STL-10, unlabelled: its 100,000 images without labels, to train on before a probe on stl10."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lens.sources._torchvision import ArraySource, Part


@dataclasses.dataclass(frozen=True)
class STL10Unlabeled(ArraySource):
    """`<root>/stl10_binary/unlabeled_X.bin`, held in memory (2.8 GB) while it is read."""

    def parts(self, place: Path) -> list[Part]:
        """The unlabelled images, without a split of their own."""
        from torchvision import datasets

        return [("unlabeled", None, datasets.STL10(place, "unlabeled", download=True))]
