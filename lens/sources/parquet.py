"""A parquet file, or a folder of them, with one image column, as on the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.files import walk
from lens.protocols import BadInput, Listing, Record
from lens.sources._columns import choose, labelled, numbered, within
from lens.sources._files import file_stamps, open_image
from lens.sources._parquet_file import class_names, damage, holds_images, holds_labels, open_parquet

if TYPE_CHECKING:
    import PIL.Image

_SPLIT = re.compile(r"(?:^|/)(train|test|val)[^/]*(?:/|\.parquet$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Parquet:
    """Rows of parquet files; an image is a struct with `bytes` (or plain bytes), a label a class, a number or a word.

    A file whose name, or whose folder's name, starts with train, test or val belongs to that split.
    """

    path: str
    image_column: str | None = None
    label_column: str | None = None

    @staticmethod
    def accepts(path: Path, endings: Set[str]) -> bool:
        """A .parquet file, or a folder that holds one."""
        return ".parquet" in endings

    def listing(self) -> Listing:
        """Rows in the order of the files, a test split without labels left out where there is another to test on.

        Raises BadInput for files that are no parquet or damaged, columns that are unclear, and labels that are missing, no
        single word or number, or outside of their class names.
        """
        return self._listing[0]

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing. Raises ValueError where its row holds none, or cannot be read."""
        import bisect

        row = self._listing[1][position]
        group = bisect.bisect_right(self._starts, row) - 1
        images = self._images(group)
        if isinstance(images, str):
            raise ValueError(images)
        value = images[row - self._starts[group]].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise ValueError("its row holds no image: a path alone is not followed")
        return open_image(content)

    @functools.cached_property
    def _listing(self) -> tuple[Listing, list[int]]:
        """The listing and, for each of its positions, the row in the files."""
        records: list[Record] = []
        for file, reader in zip(self._files, self._readers, strict=True):
            name = file.name if file == Path(self.path) else file.relative_to(self.path).as_posix()
            split = _SPLIT.search(name)
            stamp, portable = (f"{stamp}/{self._image_column}" for stamp in file_stamps(file))
            belongs = split[1].lower() if split else None
            records += [
                Record(f"{name}:{row}", split=belongs, stamp=stamp, portable_stamp=portable)
                for row in range(reader.metadata.num_rows)
            ]
        if not records:
            raise BadInput(f"{self.path} holds no rows")
        column, names = self._label_column
        if column is None:
            return Listing(records, []), list(range(len(records)))
        values = self._values(column)
        labels, names = numbered(values) if names is None else (within(self.path, column, values, names), names)
        records, kept = labelled(self.path, records, labels)
        return Listing(records, names), kept

    def _values(self, column: str) -> list[Any]:
        """A column's values, of all rows."""
        values: list[Any] = []
        for file, reader in zip(self._files, self._readers, strict=True):
            with damage(file):
                found = reader.read(columns=[column]).column(column).to_pylist()
            if len(found) != reader.metadata.num_rows:
                raise BadInput(f"{file} is damaged: it has {len(found):,} labels for {reader.metadata.num_rows:,} rows")
            values += found
        return values

    @functools.cached_property
    def _files(self) -> list[Path]:
        path = Path(self.path)
        if path.is_file():
            return [path]
        return sorted(path / name for name in walk(self.path) if name.lower().endswith(".parquet"))

    @functools.cached_property
    def _readers(self) -> list[Any]:
        readers = [open_parquet(file) for file in self._files]
        for file, reader in zip(self._files, readers, strict=True):
            if reader.schema_arrow.names != readers[0].schema_arrow.names:
                raise BadInput(f"{file} has other columns than {self._files[0]}: one source, one set of columns")
        return readers

    @functools.cached_property
    def _columns(self) -> dict[str, Any]:
        """The type of each column, by its name."""
        schema = self._readers[0].schema_arrow
        return dict(zip(schema.names, schema.types, strict=True))

    def _chosen(self, kind: str, wanted: str | None, found: list[str]) -> str:
        """The column that is `wanted`, else the only one `found`; there must be one of that name."""
        column = choose(self.path, kind, wanted, found, list(self._columns))
        if self._readers[0].schema_arrow.names.count(column) > 1:
            raise BadInput(f"{self.path} has several columns that are called {column!r}: give them names of their own")
        return column

    @functools.cached_property
    def _image_column(self) -> str:
        found = [name for name, kind in self._columns.items() if holds_images(kind)]
        column = self._chosen("image", self.image_column, found)
        for file, reader in zip(self._files, self._readers, strict=True):
            if not holds_images(reader.schema_arrow.field(column).type):
                raise BadInput(f"{file}: column {column!r} holds no images ({', '.join(found) or 'none'} could)")
        return column

    @functools.cached_property
    def _label_column(self) -> tuple[str | None, list[str] | None]:
        """The label column, if there is one, and the class names that its files carry for it, None where they carry none."""
        every = [class_names(file, r.schema_arrow) for file, r in zip(self._files, self._readers, strict=True)]
        found = list(every[0])
        others = [name for name, kind in self._columns.items() if name != self._image_column and holds_labels(kind)]
        found = found or others
        if not found and not self.label_column:
            return None, None
        column = self._chosen("label", self.label_column, found)
        for file, names in zip(self._files, every, strict=True):
            if names.get(column) != every[0].get(column):
                raise BadInput(
                    f"{file} has other class names in column {column!r} than {self._files[0]}: number them alike"
                )
        return column, every[0].get(column)

    @functools.cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """All row groups: (number of the file, number of the row group in it)."""
        return [(f, g) for f, reader in enumerate(self._readers) for g in range(reader.metadata.num_row_groups)]

    @functools.cached_property
    def _starts(self) -> list[int]:
        """The position at which each row group starts."""
        starts, position = [], 0
        for file, group in self._groups:
            starts.append(position)
            position += self._readers[file].metadata.row_group(group).num_rows
        return starts

    @functools.cached_property
    def _images(self) -> Callable[[int], Any]:
        """Row groups by their number. Images are read in order, so a few of them serve all threads.

        They are kept by this source alone: another one of the same path may read a file that has changed since.
        """
        return functools.lru_cache(maxsize=4)(self._row_group)

    def _row_group(self, group: int) -> Any:
        """The images of a row group, or in a word why it cannot be read: kept too, or each of its rows would try again."""
        import pyarrow.parquet

        file, number = self._groups[group]
        # A reader of its own: ParquetFile is not safe to share between threads.
        try:
            with damage(self._files[file]), pyarrow.parquet.ParquetFile(self._files[file]) as reader:
                return reader.read_row_group(number, columns=[self._image_column]).column(self._image_column)
        except BadInput as error:
            return str(error)
