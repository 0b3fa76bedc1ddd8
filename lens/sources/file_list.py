"""Images named in list files: a .txt or .csv of `path label` lines, or the folder of Places205 (Zhou et al. 2014)."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from lens.files import MEBIBYTE, read_bytes
from lens.protocols import LONGEST_PATH, BadInput, Listing, Record
from lens.sources._columns import numbered
from lens.sources._files import PLACES205, file_stamps, open_image

if TYPE_CHECKING:
    import PIL.Image

LARGEST = 1024 * MEBIBYTE
"""Bytes of a list, at most: ImageNet-21k's 14 million lines have half of that."""
LONGEST_LABEL = 18
"""Digits of a label, at most."""
_PLACES205_IMAGES = "data/vision/torralba/deeplearning/images256"


@dataclasses.dataclass(frozen=True)
class FileList:
    """Lines `path label`, parted by a space, a comma or a tab; a path is relative to the list's folder.

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
        for split, file in self._lists:
            for name, label in _lines(file):
                stamp, portable = file_stamps(os.path.join(self._root, name))
                records.append(Record(name, label, split, stamp=stamp, portable_stamp=portable))
        if not records:
            raise BadInput(f"{self.path} names no image: its lines are `path label`, as in `a/abbey/1.jpg 0`")
        known = {record.name for record in records}
        if len(known) < len(records):
            raise BadInput(f"{self.path} names {len(records) - len(known)} images twice: name each of them once")
        labels, classes = numbered([record.label for record in records])
        records = [dataclasses.replace(record, label=label) for record, label in zip(records, labels, strict=True)]
        if Path(self.path).is_dir():
            for record in records:
                # The first letter's folder is left out: a/abbey → abbey, f/field/wild → field/wild.
                classes[record.label or 0] = os.path.dirname(record.name).partition("/")[2]
        return Listing(records, classes)

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


def _lines(file: Path) -> list[tuple[str, int]]:
    """The path and the label of each line that is not empty. Raises BadInput, with the line's number, for other lines."""
    try:
        content = read_bytes(file, LARGEST)
    except OSError as error:
        raise BadInput(f"cannot read the file list {file} ({error.strerror})") from error
    found = []
    # As files are read: lines may end in \r\n or \r, and names keep bytes that are no UTF-8.
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(map(str.strip, text), start=1):
        if line:
            path, label = _parts(line)
            if not path or not label:
                wrong = "is not `path label`, as in `a/abbey/1.jpg 0`"
            elif "\0" in path or len(os.fsencode(path)) > LONGEST_PATH:
                wrong = f"names no file: a path has no NUL character and at most {LONGEST_PATH:,} bytes"
            elif len(label) > LONGEST_LABEL:
                wrong = f"has a label of {len(label):,} digits: it may have {LONGEST_LABEL}"
            else:
                found.append((path, int(label)))
                continue
            raise BadInput(f"{file}, line {number}: {line[:80]!r} {wrong}")
    return found


def _parts(line: str) -> tuple[str, str]:
    """The path and the label of a line, both empty where nothing parts them.

    By hand: a regular expression would take the square of a long line's length.
    """
    rest = line.rstrip("0123456789")
    path = rest.rstrip(" ,\t")
    return (path, line[len(rest) :]) if path != rest else ("", "")
