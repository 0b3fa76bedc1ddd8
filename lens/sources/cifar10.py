"""CIFAR-10: 60,000 images of 32×32 in 10 classes (Krizhevsky 2009), downloaded by torchvision (170 MB)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lens.sources._torchvision import ArraySource, Part


@dataclasses.dataclass(frozen=True)
class CIFAR10(ArraySource):
    """`<root>/cifar-10-batches-py/`: pickled batches, which torchvision loads only after their checksums are right."""

    def parts(self, place: Path) -> list[Part]:
        """The 50,000 training images and the 10,000 test images."""
        from torchvision import datasets

        return [(split, split, datasets.CIFAR10(place, split == "train", download=True)) for split in ("train", "test")]
