"""Places365-Standard at 256 px: 1.8 million scenes in 365 classes (Zhou et al. 2017), downloaded by torchvision (25 GB)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lens.sources._torchvision import Files, FileSource


@dataclasses.dataclass(frozen=True)
class Places365(FileSource):
    """`<root>/places365/`: torchvision's file lists, `data_256_standard/` and `val_256/`; the test images have no labels."""

    def files(self, place: Path) -> Files:
        """The training images and the validation images."""
        from torchvision import datasets

        folder = place / "places365"
        folder.mkdir(parents=True, exist_ok=True)
        found: list[tuple[str, int, str | None]] = []
        for split, name in (("train", "train-standard"), ("val", "val")):
            data = datasets.Places365(folder, name, small=True, download=True)
            found += [(os.path.relpath(path, folder), label, split) for path, label in data.imgs]
        return folder, found, sorted(data.class_to_idx, key=data.class_to_idx.__getitem__)
