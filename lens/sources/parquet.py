"""A parquet file, or a folder of them, with one image column, as on the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.protocols import BadInput, Listing, Record, walk
from lens.sources._columns import choose, numbered
from lens.sources._files import file_stamps

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
        """Rows in the order of the files. Raises BadInput for files that are no parquet or columns that are unclear."""

        label_column, names = self._label_column
        records: list[Record] = []
        labels: list[Any] = []
        for file, reader in zip(self._files, self._readers, strict=True):
            name = file.name if file == Path(self.path) else file.relative_to(self.path).as_posix()
            split = _SPLIT.search(name)
            count = reader.metadata.num_rows
            stamp, portable = (f"{stamp}/{self._image_column}" for stamp in file_stamps(file))
            belongs = split[1].lower() if split else None
            records += [
                Record(f"{name}:{row}", split=belongs, stamp=stamp, portable_stamp=portable) for row in range(count)
            ]
            if label_column:
                labels += reader.read(columns=[label_column]).column(label_column).to_pylist()
        if not records:
            raise BadInput(f"{self.path} holds no rows")
        if not label_column:
            return Listing(records, [])
        if any(label is None for label in labels):
            raise BadInput(f"{self.path}: column {label_column!r} has {labels.count(None)} rows without a label")
        if not names:
            labels, names = numbered(labels)
        return Listing([dataclasses.replace(r, label=label) for r, label in zip(records, labels, strict=True)], names)

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        import bisect

        import PIL.Image

        group = bisect.bisect_right(self._starts, position) - 1
        value = self._images(group)[position - self._starts[group]].as_py()
        return PIL.Image.open(io.BytesIO(value["bytes"] if isinstance(value, dict) else value))

    @functools.cached_property
    def _files(self) -> list[Path]:
        path = Path(self.path)
        if path.is_file():
            return [path]
        return sorted(path / name for name in walk(self.path) if name.lower().endswith(".parquet"))

    @functools.cached_property
    def _readers(self) -> list[Any]:
        import pyarrow
        import pyarrow.parquet

        readers = []
        for file in self._files:
            try:
                readers.append(pyarrow.parquet.ParquetFile(file))
            except (pyarrow.ArrowException, OSError) as error:
                raise BadInput(f"{file} is no parquet file: {str(error).splitlines()[0]}") from error
        for file, reader in zip(self._files, readers, strict=True):
            if reader.schema_arrow.names != readers[0].schema_arrow.names:
                raise BadInput(f"{file} has other columns than {self._files[0]}: one source, one set of columns")
        return readers

    @functools.cached_property
    def _schema(self) -> Any:
        return self._readers[0].schema_arrow

    @functools.cached_property
    def _features(self) -> dict[str, Any]:
        """The columns' Hugging Face features, from the schema's metadata where it has them."""
        from datasets import Features

        return dict(Features.from_arrow_schema(self._schema))

    @functools.cached_property
    def _image_column(self) -> str:
        import pyarrow.types as types

        def holds_images(name: str) -> bool:
            kind = self._schema.field(name).type
            struct = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
            return bool(struct or types.is_binary(kind) or types.is_large_binary(kind))

        found = [name for name in self._schema.names if holds_images(name)]
        return choose(self.path, "image", self.image_column, found, self._schema.names)

    @functools.cached_property
    def _label_column(self) -> tuple[str | None, list[str]]:
        """The label column, if there is one, and the class names that its feature carries."""
        import pyarrow.types as types

        def names_of(column: str) -> list[str]:
            return list(getattr(self._features[column], "names", None) or [])

        def holds_labels(name: str) -> bool:
            kind = self._schema.field(name).type
            checks = (types.is_integer, types.is_string, types.is_large_string, types.is_dictionary, types.is_boolean)
            return name != self._image_column and any(check(kind) for check in checks)

        found = [name for name in self._schema.names if names_of(name)]
        found = found or [name for name in self._schema.names if holds_labels(name)]
        if not found and not self.label_column:
            return None, []
        column = choose(self.path, "label", self.label_column, found, self._schema.names)
        return column, names_of(column)

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
        import pyarrow.parquet

        file, number = self._groups[group]
        # A reader of its own: ParquetFile is not safe to share between threads.
        with pyarrow.parquet.ParquetFile(self._files[file]) as reader:
            return reader.read_row_group(number, columns=[self._image_column]).column(self._image_column)
