"""Caltech-101: 8,677 images in 101 classes (Fei-Fei et al. 2004), downloaded by torchvision (137 MB)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lens.sources._torchvision import Files, FileSource


@dataclasses.dataclass(frozen=True)
class Caltech101(FileSource):
    """`<root>/caltech101/101_ObjectCategories/<class>/image_0001.jpg`, without BACKGROUND_Google, without splits."""

    def files(self, place: Path) -> Files:
        """All images by class."""
        from torchvision import datasets

        data = datasets.Caltech101(place, download=True)
        found: list[tuple[str, int, str | None]] = [
            (f"{data.categories[label]}/image_{number:04d}.jpg", label, None)
            for number, label in zip(data.index, data.y, strict=True)
        ]
        return Path(data.root) / "101_ObjectCategories", found, data.categories
