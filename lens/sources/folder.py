"""A folder of image files: flat or with class subfolders, with or without train/ and test/ or val/."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lens.protocols import BadInput, Listing, Record

if TYPE_CHECKING:
    import PIL.Image

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Folder:
    """Image files below `path`, in sorted order; files with other endings are passed over."""

    path: str
    image_column: str | None = None
    label_column: str | None = None

    @staticmethod
    def accepts(path: Path) -> bool:
        """Any directory that holds no parquet file."""
        return path.is_dir() and next(path.rglob("*.parquet"), None) is None

    def listing(self) -> Listing:
        """Names relative to `path`. Raises BadInput where there is no image, or where images lie beside class folders."""
        return self._listing

    @functools.cached_property
    def _listing(self) -> Listing:
        # Kept: a file that comes or goes while images are read must not shift the others against their labels.
        if self.image_column or self.label_column:
            raise BadInput(f"{self.path} is an image folder: --image_column and --label_column belong to parquet files")
        root = Path(self.path)
        parts: list[tuple[str | None, Path]] = [(None, root)]
        folders = sorted(part for part in root.iterdir() if part.is_dir())
        named = [(SPLITS[part.name.lower()], part) for part in folders if part.name.lower() in SPLITS]
        if "train" in [split for split, _ in named]:
            if others := [part.name for part in folders if part.name.lower() not in SPLITS and _images(part)]:
                raise BadInput(
                    f"{self.path} has a training folder beside folders that are no split ({', '.join(others[:3])}): "
                    "splits are called train, val and test; move the others away"
                )
            parts = list(named) if len(named) > 1 else [(None, named[0][1])]
        by_class = [(split, part, _images(part)) for split, part in parts]
        classes = sorted({name for _, _, found in by_class for name in found if name})
        records = []
        for split, part, found in by_class:
            if classes and "" in found:
                raise BadInput(
                    f"{part} holds {len(found[''])} images beside class folders: move them into a class folder, or away"
                )
            for name, files in found.items():
                for file in files:
                    stat = file.stat()
                    records.append(
                        Record(
                            name=str(file.relative_to(root)),
                            label=classes.index(name) if classes else None,
                            split=split,
                            stamp=f"{stat.st_size}/{stat.st_mtime_ns}",
                        )
                    )
        if not records:
            raise BadInput(f"{self.path} holds no image file ({', '.join(sorted(EXTENSIONS))})")
        return Listing(records, classes)

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        import PIL.Image

        return PIL.Image.open(Path(self.path) / self._listing.records[position].name)


def _images(part: Path) -> dict[str, list[Path]]:
    """Image files by class folder; the key is "" for files that lie directly in `part`."""
    found: dict[str, list[Path]] = {}
    for file in sorted(_walk(part)):
        if file.suffix.lower() in EXTENSIONS:
            inside = file.relative_to(part).parts
            found.setdefault(inside[0] if len(inside) > 1 else "", []).append(file)
    return found


def _walk(part: Path) -> Iterator[Path]:
    """All files below `part`; links to folders are followed, each real folder once, so that a loop ends."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, files in os.walk(part, followlinks=True):
        kept = []
        for name in sorted(subfolders):
            stat = os.stat(os.path.join(folder, name))
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                kept.append(name)
        subfolders[:] = kept
        for name in files:
            yield Path(folder, name)
