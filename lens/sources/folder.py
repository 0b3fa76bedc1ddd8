"""A folder of image files: flat or with class subfolders, with or without train/ and test/ or val/."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from lens.files import walk
from lens.protocols import BadInput, Listing, Record
from lens.sources._files import IMAGES, PLACES205, SPLITS, file_stamps, open_image

if TYPE_CHECKING:
    import PIL.Image


@dataclasses.dataclass(frozen=True)
class Folder:
    """Image files below `path`, in sorted order; files with other endings are passed over."""

    path: str
    image_column: str | None = None
    label_column: str | None = None

    @staticmethod
    def accepts(path: Path, endings: Set[str]) -> bool:
        """Any directory that holds no parquet file, no shards alone and no file lists."""
        shards = ".tar" in endings and not endings & IMAGES
        return path.is_dir() and ".parquet" not in endings and not shards and not (path / PLACES205).is_dir()

    def listing(self) -> Listing:
        """Names relative to `path`. Raises BadInput where there is no image, or where images lie beside class folders."""
        return self._listing

    @functools.cached_property
    def _listing(self) -> Listing:
        # Kept: a file that comes or goes while images are read must not shift the others against their labels.
        if self.image_column or self.label_column:
            raise BadInput(f"{self.path} is an image folder: --image_column and --label_column belong to parquet files")
        parts: list[tuple[str | None, str]] = [(None, "")]
        folders = sorted(entry.name for entry in os.scandir(self.path) if entry.is_dir())
        named = [(SPLITS[name.lower()], name) for name in folders if name.lower() in SPLITS]
        if "train" in [split for split, _ in named]:
            others = [name for name in folders if name.lower() not in SPLITS and _images(os.path.join(self.path, name))]
            if others:
                raise BadInput(
                    f"{self.path} has a training folder beside folders that are no split ({', '.join(others[:3])}): "
                    "splits are called train, val and test; move the others away"
                )
            parts = list(named) if len(named) > 1 else [(None, named[0][1])]
        by_class = [(split, part, _images(os.path.join(self.path, part))) for split, part in parts]
        classes = sorted({name for _, _, found in by_class for name in found if name})
        number = {name: position for position, name in enumerate(classes)}
        records = []
        for split, part, found in by_class:
            if classes and "" in found:
                raise BadInput(
                    f"{os.path.join(self.path, part)} holds {len(found[''])} images beside class folders: move them into "
                    "a class folder, or away"
                )
            for name, files in found.items():
                for file in files:
                    inside = os.path.join(part, file)
                    stamp, portable = file_stamps(os.path.join(self.path, inside))
                    records.append(Record(inside, number.get(name), split, stamp=stamp, portable_stamp=portable))
        if not records:
            raise BadInput(f"{self.path} holds no image file ({', '.join(sorted(IMAGES))})")
        return Listing(records, classes)

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        return open_image(os.path.join(self.path, self._listing.records[position].name))


def _images(part: str) -> dict[str, list[str]]:
    """Image files, relative to `part`, by class folder; the key is "" for files that lie directly in `part`."""
    found: dict[str, list[str]] = {}
    files = [file for file in walk(part) if os.path.splitext(file)[1].lower() in IMAGES]
    for file in sorted(files, key=lambda file: file.replace(os.sep, "\0")):
        name, slash, _ = file.partition(os.sep)
        found.setdefault(name if slash else "", []).append(file)
    return found
