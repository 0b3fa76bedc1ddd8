"""What the sources made of torchvision's data sets share: where they lie, one line where they cannot be had."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.protocols import BadInput, Listing, Record
from lens.sources._files import file_stamps, open_image

if TYPE_CHECKING:
    import PIL.Image

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
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise BadInput(f"{self._advice(place)} ({reason})") from error

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
        records, rows = [], []
        for part, split, data in self.parts(place):
            stamp = "/".join(md5 for _, md5 in [*data.train_list, *data.test_list])
            labels = data.targets if hasattr(data, "targets") else data.labels
            for row, label in enumerate(labels):
                known = int(label) if label >= 0 else None
                records.append(Record(f"{part}/{row:06d}", known, split, stamp=stamp))
                rows.append((data, row))
            classes = data.classes
        return Listing(records, classes if any(record.label is not None for record in records) else []), rows


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
        for (name, label, split), path in zip(found, paths, strict=True):
            stamp, portable = file_stamps(path)
            records.append(Record(name, label, split, stamp=stamp, portable_stamp=portable))
        return Listing(records, classes), paths
