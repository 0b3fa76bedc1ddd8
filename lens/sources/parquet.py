"""A parquet file, or a folder of them, with one image column, as on the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.base.errors import BadInput
from lens.base.files import SystemFault
from lens.base.walk import Passed, files_ending_in
from lens.protocols.source import Listing, Record
from lens.sources._columns import Column, choose, doubt, labelled, plain_values
from lens.sources._files import file_stamps, open_image
from lens.sources._parquet_file import (
    Footer,
    class_names,
    damage,
    holds_fractions,
    holds_images,
    holds_labels,
    read_footer,
)

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

        Only the image and the label column must agree between the files. Raises BadInput for files that are no parquet or
        damaged, columns that are unclear, and labels that `labelled` refuses.
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
        for footer in self._footers:
            file = footer.file
            name = file.name if file == Path(self.path) else file.relative_to(self.path).as_posix()
            split = _SPLIT.search(name)
            stamp, portable = (f"{stamp}/{self._image_column}" for stamp in file_stamps(file))
            belongs = split[1].lower() if split else None
            records += [
                Record(f"{name}:{row}", split=belongs, stamp=stamp, portable_stamp=portable)
                for row in range(sum(footer.groups))
            ]
        if not records:
            raise BadInput(f"{self.path} holds no rows")
        column, notes = self._label_column()
        listing, rows = Listing(records, []), list(range(len(records)))
        if column is not None:
            listing, rows = labelled(self.path, records, column)
        return dataclasses.replace(listing, notes=[*self._found[1], *notes, *listing.notes]), rows

    @functools.cached_property
    def _found(self) -> tuple[list[Path], list[str]]:
        """The files, in order, and a line about what is passed over beside them."""
        path = Path(self.path)
        if path.is_file():
            return [path], []
        passed = Passed()
        files = [path / name for name in files_ending_in((".parquet",), self.path, passed)]
        return sorted(files), passed.note()

    @functools.cached_property
    def _footers(self) -> list[Footer]:
        return [read_footer(file) for file in self._found[0]]

    def _common(self, holds: Callable[[Any], bool]) -> list[str]:
        """The columns that every file has and that may hold what is asked, in the first file's order."""
        every = [{name for name, kind in footer.columns.items() if holds(kind)} for footer in self._footers]
        return [name for name in self._footers[0].columns if all(name in found for found in every)]

    @functools.cached_property
    def _image_column(self) -> str:
        first = self._footers[0].columns
        # Where the files share none, the first file's are meant, and the line names the file that differs.
        found = self._common(holds_images) or [name for name, kind in first.items() if holds_images(kind)]
        column = choose(self.path, "image", self.image_column, found, list(first))
        for footer in self._footers:
            footer.refuse_twins(column)
            if column not in footer.columns or not holds_images(footer.columns[column]):
                raise BadInput(f"{footer.file}: column {column!r} holds no images ({', '.join(found) or 'none'} could)")
        return column

    def _label_column(self) -> tuple[Column | None, list[str]]:
        """The labels, where there are some, with the class names that the files carry for them; lines for the person."""
        every = [class_names(footer.file, footer.schema) for footer in self._footers]
        found, notes = list(every[0]), list[str]()
        if not self.label_column and not found:
            found, notes = self._likely()
            if not found:
                return None, notes
        name = choose(self.path, "label", self.label_column, found, list(self._footers[0].columns))
        for footer, names in zip(self._footers, every, strict=True):
            footer.refuse_twins(name)
            if name not in footer.columns:
                raise BadInput(
                    f"{footer.file} has no column {name!r}, which holds the labels of {self._footers[0].file}: give it one"
                )
            if names.get(name) != every[0].get(name):
                raise BadInput(
                    f"{footer.file} has other class names in column {name!r} than {self._footers[0].file}: number them alike"
                )
        return Column(name, self._values(name), every[0].get(name), bool(self.label_column)), notes

    def _likely(self) -> tuple[list[str], list[str]]:
        """The columns that may hold labels by their types, and of several those by whose values they may; a line about others.

        Fractions come last: beside a label they are a score.
        """
        found = [name for name in self._common(holds_labels) if name != self._image_column]
        if len(found) < 2:
            return found, []
        fractions = [name for name in self._common(holds_fractions) if name in found]
        told = []
        for names in ([name for name in found if name not in fractions], fractions):
            doubted = {name: self._doubt(name) for name in names}
            told += [f"column {name!r} is taken for no label, since {why}" for name, why in doubted.items() if why]
            if left := [name for name, why in doubted.items() if not why]:
                return left, told
        return [], told

    def _doubt(self, column: str) -> str | None:
        try:
            return doubt(plain_values(self.path, column, self._values(column)))
        except BadInput:  # nobody has asked for this one
            return "not all of its values are words or numbers"

    def _values(self, column: str) -> list[Any]:
        return [value for footer in self._footers for value in footer.values(column)]

    @functools.cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """All row groups: (number of the file, number of the row group in it)."""
        return [(f, g) for f, footer in enumerate(self._footers) for g in range(len(footer.groups))]

    @functools.cached_property
    def _starts(self) -> list[int]:
        """The position at which each row group starts."""
        sizes = [rows for footer in self._footers for rows in footer.groups]
        return [0, *itertools.accumulate(sizes[:-1])]

    @functools.cached_property
    def _images(self) -> Callable[[int], Any]:
        """Row groups by their number. Images are read in order, so a few of them serve all threads.

        They are kept by this source alone: another one of the same path may read a file that has changed since.
        """
        return functools.lru_cache(maxsize=4)(self._row_group)

    def _row_group(self, group: int) -> Any:
        """The images of a row group, or in a word why it cannot be read: kept too, or each of its rows would try again."""
        import pyarrow.parquet

        number, inner = self._groups[group]
        file = self._footers[number].file
        # A reader of its own: ParquetFile is not safe to share between threads.
        try:
            with damage(file), pyarrow.parquet.ParquetFile(file) as reader:
                return reader.read_row_group(inner, columns=[self._image_column]).column(self._image_column)
        except SystemFault:
            raise
        except BadInput as error:
            return str(error)
