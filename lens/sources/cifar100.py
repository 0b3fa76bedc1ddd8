"""CIFAR-100: 60,000 images of 32×32 in 100 classes (Krizhevsky 2009), downloaded by torchvision (169 MB)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lens.sources._torchvision import ArraySource, Part


@dataclasses.dataclass(frozen=True)
class CIFAR100(ArraySource):
    """`<root>/cifar-100-python/`: pickled batches, which torchvision loads only after their checksums are right."""

    def parts(self, place: Path) -> list[Part]:
        """The 50,000 training images and the 10,000 test images, with the fine classes."""
        from torchvision import datasets

        return [
            (split, split, datasets.CIFAR100(place, split == "train", download=True)) for split in ("train", "test")
        ]
