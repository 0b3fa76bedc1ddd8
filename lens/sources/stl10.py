"""STL-10, labelled: 13,000 images of 96×96 in 10 classes (Coates et al. 2011), downloaded by torchvision (2.6 GB)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lens.sources._torchvision import ArraySource, Part


@dataclasses.dataclass(frozen=True)
class STL10(ArraySource):
    """`<root>/stl10_binary/`; its 100,000 unlabelled images are the source stl10_unlabeled."""

    def parts(self, place: Path) -> list[Part]:
        """The 5,000 training images and the 8,000 test images."""
        from torchvision import datasets

        return [(split, split, datasets.STL10(place, split, download=True)) for split in ("train", "test")]
