"""A folder of image files: flat or with class subfolders, with or without train/ and test/ or val/."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from lens.base.errors import BadInput
from lens.base.walk import Passed, files_ending_in
from lens.protocols.source import Listing, Record
from lens.sources._files import PLACES205, file_stamps, image_endings, open_image
from lens.sources._layout import layout_of

if TYPE_CHECKING:
    import PIL.Image


@dataclasses.dataclass(frozen=True)
class Folder:
    """Image files below `path`, in sorted order; what is passed over is counted by its kind."""

    path: str
    image_column: str | None = None
    label_column: str | None = None

    @staticmethod
    def accepts(path: Path, endings: Set[str]) -> bool:
        """Any directory that holds no parquet file, no shards alone and no file lists."""
        shards = ".tar" in endings and not endings & image_endings()
        return path.is_dir() and ".parquet" not in endings and not shards and not (path / PLACES205).is_dir()

    def listing(self) -> Listing:
        """Names relative to `path`. Raises BadInput where there is no image, or for a layout that cannot be meant."""
        return self._listing

    @functools.cached_property
    def _listing(self) -> Listing:
        # Kept: a file that comes or goes while images are read must not shift the others against their labels.
        if self.image_column or self.label_column:
            raise BadInput(f"{self.path} is an image folder: --image_column and --label_column belong to parquet files")
        passed = Passed()
        files = files_ending_in(image_endings(), self.path, passed)
        files.sort(key=lambda file: file.replace(os.sep, "\0"))
        notes = passed.note()
        if not files:
            raise BadInput(f"{self.path} holds no image file{': ' * bool(notes)}{''.join(notes)}")
        layout = layout_of(self.path, files, passed)
        number = {name: position for position, name in enumerate(layout.classes)}
        records = []
        for file, split, name in layout.entries:
            stamp, portable = file_stamps(os.path.join(self.path, file))
            records.append(Record(file, number.get(name), split, stamp=stamp, portable_stamp=portable))
        return Listing(records, layout.classes, [*notes, *layout.notes])

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        return open_image(os.path.join(self.path, self._listing.records[position].name))
