"""One parquet file, opened and checked: what its footer claims, what its columns hold, the class names it carries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.sources._files import check_regular

GIBIBYTE = 2**30
MOST_EXPANDED = 1000
"""How many times a file's size one of its row groups may have uncompressed, beyond a GiB: images hardly compress."""


@contextmanager
def damage(file: Path, what: str = "is damaged") -> Iterator[None]:
    """Give a parquet file that cannot be read its one line."""
    import pyarrow

    try:
        yield
    except BadInput:
        raise
    except (
        pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError,
    ) as error:  # fmt: skip
        line = f"{file} {what} ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise system_fault(error, file) or BadInput(line) from error


@dataclasses.dataclass(frozen=True)
class Footer:
    """What a parquet file says of itself: its schema, and the number of rows of each row group."""

    file: Path
    schema: Any
    groups: list[int]

    @property
    def columns(self) -> dict[str, Any]:
        """The type of each column, by its name; of those that share one, the last."""
        return dict(zip(self.schema.names, self.schema.types, strict=True))

    def refuse_twins(self, column: str) -> None:
        """Raise BadInput where several columns have this name."""
        if self.schema.names.count(column) > 1:
            raise BadInput(f"{self.file} has several columns that are called {column!r}: give them names of their own")

    def values(self, column: str) -> list[Any]:
        """A column's values, of all rows. Raises BadInput where they cannot be read, or are more or fewer than the rows."""
        import pyarrow.parquet

        with damage(self.file), pyarrow.parquet.ParquetFile(self.file) as reader:
            found: list[Any] = reader.read(columns=[column]).column(column).to_pylist()
        if len(found) != sum(self.groups):
            raise BadInput(f"{self.file} is damaged: it has {len(found):,} labels for {sum(self.groups):,} rows")
        return found


def read_footer(file: Path) -> Footer:
    """The footer of a parquet file, which is closed again: a process may have 256 files open, and a source thousands.

    Raises BadInput for what is no parquet file, or claims more than a file of its size holds.
    """
    import pyarrow.parquet

    check_regular(file)
    with damage(file, "is no parquet file"), pyarrow.parquet.ParquetFile(file) as reader:
        schema, metadata = reader.schema_arrow, reader.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        rows, sizes = [group.num_rows for group in groups], [group.total_byte_size for group in groups]
        size = file.stat().st_size
    # Each row has an image, and so a byte or more.
    if sum(rows) != metadata.num_rows or min(rows, default=0) < 0 or sum(rows) > size:
        raise BadInput(f"{file} claims {metadata.num_rows:,} rows of {len(schema.names)} columns in {size:,} bytes: it is damaged")  # fmt: skip
    largest = max(sizes, default=0)
    if min(sizes, default=0) < 0 or largest > max(GIBIBYTE, MOST_EXPANDED * size):
        raise BadInput(f"{file} claims {largest:,} bytes in a row group and has {size:,} itself: it is damaged")
    return Footer(file, schema, rows)


def holds_images(kind: Any) -> bool:
    """Whether a column of this type may hold images: bytes, or a struct that has `bytes`."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def holds_labels(kind: Any) -> bool:
    """Whether a column of this type may hold labels: numbers, words, categories or true and false."""
    import pyarrow.types as types

    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_dictionary, types.is_boolean)
    return _is_number(kind) or any(check(kind) for check in checks)


def holds_fractions(kind: Any) -> bool:
    """Whether a column of this type may hold numbers that are not whole."""
    import pyarrow.types as types

    return bool(types.is_floating(kind) or types.is_decimal(kind))


def class_names(file: Path, schema: Any) -> dict[str, list[str]]:
    """The class names that the file's Hugging Face metadata gives to columns of numbers.

    What it says of other columns does not matter. It is read here and not by `datasets`, which opens a file that the
    metadata names, and knows the types of its own version only. Raises BadInput for metadata that is no such thing: what
    the numbers mean would be lost without a word.
    """
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        metadata = json.loads(text)
        features = (metadata.get("info") or {}).get("features") or {}
        labels = {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
        }
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{file} has Hugging Face metadata that cannot be read ({type(error).__name__}: {str(error)[:80]}): write it "
            "again, without the metadata if its labels need no names"
        ) from error
    found = {}
    for column in dict.fromkeys(schema.names):
        if column in labels and _is_number(schema.field(schema.names.index(column)).type):
            names = labels[column]
            if (
                not isinstance(names, list)
                or not all(isinstance(name, str) for name in names)
                or len(set(names)) < len(names)
            ):
                raise BadInput(
                    f"{file}: the class names of column {column!r} are no list of different words: write it again"
                )
            found[column] = names
    return found


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_integer(kind) or holds_fractions(kind)


def _is_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    checks = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(check(kind) for check in checks)
