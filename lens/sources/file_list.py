"""Images named in list files: a .txt or .csv of `path label` lines, or the folder of Places205 (Zhou et al. 2014)."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from lens.base.errors import BadInput
from lens.base.walk import OTHER_PROGRAMS, Passed
from lens.protocols.source import Listing, Record
from lens.sources._columns import Column, labelled
from lens.sources._files import PLACES205, file_stamps, open_image
from lens.sources._lines import lines_of

if TYPE_CHECKING:
    import PIL.Image

_PLACES205_IMAGES = "data/vision/torralba/deeplearning/images256"


@dataclasses.dataclass(frozen=True)
class FileList:
    """Lines `path label`, parted by a space, a comma, a semicolon or a tab; a path is relative to the list's folder.

    Places205 as its two archives leave it, and as mmselfsup, VirTex and others read it: the folder holds
    `trainvalsplit_places205/train_places205.csv` and `val_places205.csv` (`a/abbey/gsun_….jpg 0`) beside
    `data/vision/torralba/deeplearning/images256/a/abbey/gsun_….jpg`. Its classes are the images' folders.
    """

    path: str
    image_column: str | None = None
    label_column: str | None = None

    @staticmethod
    def accepts(path: Path, endings: Set[str]) -> bool:
        """A .txt or .csv file, or a folder with Places205's lists."""
        return path.suffix.lower() in (".txt", ".csv") if path.is_file() else (path / PLACES205).is_dir()

    def listing(self) -> Listing:
        """Names relative to the images' folder. Raises BadInput for a list that is missing, empty or no list."""
        return self._listing

    @functools.cached_property
    def _listing(self) -> Listing:
        if self.image_column or self.label_column:
            raise BadInput(f"{self.path} is a file list: --image_column and --label_column belong to parquet files")
        records: list[Record] = []
        labels: list[int | float | str] = []
        passed, notes = Passed(), list[str]()
        for split, file in self._lists:
            lines, told = lines_of(file, lambda name: os.path.lexists(os.path.join(self._root, name)))
            notes += told
            for name, label in lines:
                if kind := _copied_by_a_program(name):
                    passed.add(kind, name)
                    continue
                stamp, portable = file_stamps(os.path.join(self._root, name))
                records.append(Record(name, split=split, stamp=stamp, portable_stamp=portable))
                labels.append(label)
        if not records:
            raise BadInput(f"{self.path} names no image: its lines are `path label`, as in `a/abbey/1.jpg 0`")
        places = Counter(os.path.abspath(os.path.join(self._root, record.name)) for record in records)
        if again := len(records) - len(places):
            first = places.most_common(1)[0][0]
            raise BadInput(f"{self.path} names {again} images twice, such as {first!r}: name each of them once")
        column = Column("label", labels, mend="mend the list")
        listing, _ = labelled(self.path, records, column)
        if Path(self.path).is_dir():
            # The first letter's folder is left out: a/abbey → abbey, f/field/wild → field/wild.
            folders = {r.label: os.path.dirname(r.name).partition("/")[2] for r in listing.records}
            listing = dataclasses.replace(listing, classes=[folders[number] for number in range(len(listing.classes))])
        return dataclasses.replace(listing, notes=[*passed.note(), *notes, *listing.notes])

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        return open_image(os.path.join(self._root, self._listing.records[position].name))

    @property
    def _root(self) -> Path:
        path = Path(self.path)
        return path / _PLACES205_IMAGES if path.is_dir() else path.parent

    @property
    def _lists(self) -> list[tuple[str | None, Path]]:
        path = Path(self.path)
        if path.is_file():
            return [(None, path)]
        return [(split, path / PLACES205 / f"{split}_places205.csv") for split in ("train", "val")]


def _copied_by_a_program(name: str) -> str | None:
    """What of a listed path no person has listed: macOS's ._ files, and what lies in a program's own folder; else None.

    Other hidden folders may lie on the way to somebody's images.
    """
    *folders, file = name.split("/")
    if any(folder in OTHER_PROGRAMS or folder == ".ipynb_checkpoints" for folder in folders):
        return "foreign folder's file"
    return "hidden name" if file.startswith("._") else None
