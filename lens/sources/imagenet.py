"""ImageNet (ILSVRC 2012): 1.3 million images in 1,000 classes (Russakovsky et al. 2015), which you bring yourself."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from lens.sources._torchvision import Files, FileSource


@dataclasses.dataclass(frozen=True)
class ImageNet(FileSource):
    """`<root>/imagenet/`: `train/<wnid>/`, `val/<wnid>/` and `meta.bin`, or the archives, which torchvision extracts."""

    def files(self, place: Path) -> Files:
        """The training images and the validation images; a class is its WordNet id and its first name."""
        from torchvision import datasets

        folder = place / "imagenet"
        found: list[tuple[str, int, str | None]] = []
        for split in ("train", "val"):
            data = datasets.ImageNet(folder, split)
            found += [(os.path.relpath(path, folder), label, split) for path, label in data.imgs]
        # Two classes are called crane and two maillot: the id tells them apart.
        return folder, found, [f"{wnid} {names[0]}" for wnid, names in zip(data.wnids, data.classes, strict=True)]

    def _advice(self, place: Path) -> str:
        return (
            f"imagenet cannot be downloaded without an account: from image-net.org put ILSVRC2012_devkit_t12.tar.gz, "
            f"ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {place / 'imagenet'}/, or their extracted train/ and "
            f"val/ with torchvision's meta.bin; folders alone are read with --data {place / 'imagenet'}/; "
            "--data_root or $LENS_DATA names another place"
        )
