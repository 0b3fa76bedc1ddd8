"""What the sources made of torchvision's data sets share: where they lie, one line where they cannot be had."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.protocols.source import Listing, Record
from lens.sources._columns import Column, labelled
from lens.sources._files import file_stamps, open_image

if TYPE_CHECKING:
    import PIL.Image

MEND = "get torchvision's files again"
Part = tuple[str, str | None, Any]
"""Name of the part, its split, and torchvision's data set."""
Files = tuple[Path, list[tuple[str, int, str | None]], Sequence[str]]
"""The folder, (path in it, label, split) of each image, and the class names."""


@dataclasses.dataclass(frozen=True)
class _Torchvision:
    """A data set below `root` (default $LENS_DATA, else ./data), downloaded by torchvision where it is not there yet."""

    root: str | None = None

    def listing(self) -> Listing:
        """Names, labels and splits. Raises BadInput, in one line, where the data set cannot be had."""
        return self._loaded[0]

    @functools.cached_property
    def _loaded(self) -> tuple[Listing, list[Any]]:
        place = Path(self.root or os.environ.get("LENS_DATA") or "data")
        try:
            place = place.expanduser()
            return self._load(place)
        except BadInput:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise system_fault(error) or BadInput(f"{self._advice(place)} ({reason})") from error

    def _load(self, place: Path) -> tuple[Listing, list[Any]]:
        """The listing, and what `read` needs of it. Any exception means that the data set cannot be had."""
        raise NotImplementedError

    def _advice(self, place: Path) -> str:
        return (
            f"{type(self).__name__} can neither be read below {place} nor downloaded to it: look at the network and the "
            "disk, or put torchvision's files there; --data_root or $LENS_DATA names another place"
        )


@dataclasses.dataclass(frozen=True)
class ArraySource(_Torchvision):
    """A data set that torchvision keeps in memory as a whole; its files' checksums stand for its content."""

    def parts(self, place: Path) -> list[Part]:
        """The data set's parts. Any exception means that it cannot be had."""
        raise NotImplementedError

    def read(self, position: int) -> PIL.Image.Image:
        """Image `position` of the listing."""
        data, row = self._loaded[1][position]
        image: PIL.Image.Image = data[row][0]
        return image

    def _load(self, place: Path) -> tuple[Listing, list[Any]]:
        records, rows, labels = [], [], []
        for part, split, data in self.parts(place):
            stamp = "/".join(md5 for _, md5 in [*data.train_list, *data.test_list])
            given = data.targets if hasattr(data, "targets") else data.labels
            for row, label in enumerate(given):
                records.append(Record(f"{part}/{row:06d}", split=split, stamp=stamp))
                labels.append(int(label))
                rows.append((data, row))
            classes = data.classes
        if all(label < 0 for label in labels):
            return Listing(records, []), rows  # made to have none
        listing, kept = labelled(type(self).__name__, records, Column("label", labels, classes, mend=MEND))
        return listing, [rows[row] for row in kept]


@dataclasses.dataclass(frozen=True)
class FileSource(_Torchvision):
    """A data set of image files; their sizes and times stand for their content."""

    def files(self, place: Path) -> Files:
        """The data set's files. Any exception means that it cannot be had."""
        raise NotImplementedError

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        return open_image(self._loaded[1][position])

    def _load(self, place: Path) -> tuple[Listing, list[Any]]:
        folder, found, classes = self.files(place)
        paths = [os.path.join(folder, name) for name, _, _ in found]
        records = []
        for (name, _, split), path in zip(found, paths, strict=True):
            stamp, portable = file_stamps(path)
            records.append(Record(name, split=split, stamp=stamp, portable_stamp=portable))
        column = Column("label", [label for _, label, _ in found], classes, mend=MEND)
        listing, kept = labelled(type(self).__name__, records, column)
        return listing, [paths[row] for row in kept]
