"""What the sources that read tables share: choosing a column, what counts as a label, images that have none."""

from __future__ import annotations

import dataclasses
import decimal
import math
from collections.abc import Sequence
from typing import Any

from lens.base.errors import BadInput, nearest
from lens.protocols.source import Listing, Record

FEW = 10
"""Different labels that are never taken for an index, whatever the number of images."""
NO_WORD = ("", "nan", "NaN", "-1")
"""Words that stand for no label: an empty cell, and what tables of numbers become when they are written as words."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of labels: a value a row, as it was written, and the `names` that whole numbers have, where they have some.

    `asked`: the person has named it. `mend` ends the lines about it.
    """

    name: str
    values: Sequence[Any]
    names: Sequence[str] | None = None
    asked: bool = False
    mend: str = "mend them, or name another --label_column"


def choose(key: str, kind: str, wanted: str | None, found: list[str], known: list[str]) -> str:
    """The column that is `wanted`, else the only one `found`. Raises BadInput where that names no column, or several."""
    if wanted:
        if wanted not in known:
            raise BadInput(f"{key} has no column {wanted!r}: {nearest(wanted, known)}")
        return wanted
    if len(found) != 1:
        what = f"{len(found)} columns that could hold the {kind}s ({', '.join(found) or 'none'})"
        raise BadInput(f"{key} has {what}: name one with --{kind}_column")
    return found[0]


def labelled(key: str, records: list[Record], column: Column) -> tuple[Listing, list[int]]:
    """The records with the labels of a column, and the rows that they are. Every source's labels go through here.

    - null, NaN, −1 and empty words are no label: such images are kept, and told of.
    - Without names the classes are the values that occur, in order; whole numbers are one class, however they are written.
    - A column with a value of its own for nearly every row, or with fractions, is no label, unless it is `asked` for.
    - A test split without any label is left out where there is a val to test on instead: ImageNet's habit.

    Raises BadInput for a label that is no single word or number, or outside of the names; for labels of several kinds
    (1 and "1" are no two classes); and for a column that is asked for and holds none.
    """
    where = f"{key}: column {column.name!r}"
    plain = [_plain(where, value, column.mend) for value in column.values]
    rows = list(range(len(records)))
    if all(value is None for value in plain):
        if column.asked:
            raise BadInput(f"{where} holds no label in its {len(plain):,} rows: {column.mend}")
        return Listing(records, [], [f"no image has a label: column {column.name!r} holds none"]), rows
    if column.names is not None:
        numbers, classes, notes = _within(key, plain, column), list(column.names), list[str]()
    else:
        doubted = doubt(plain)
        if doubted and not column.asked:
            how = ": name it with --label_column if it is one" * ("--label_column" in column.mend)
            return Listing(records, [], [f"column {column.name!r} is taken for no label, since {doubted}{how}"]), rows
        numbers, classes = _numbered(where, plain, column.mend)
        notes = [f"column {column.name!r} is taken for the label as you say, though {doubted}"] if doubted else []
    splits = [record.split for record in records]
    if "val" in splits and "test" in splits and not any(n is not None and s == "test" for n, s in zip(numbers, splits, strict=True)):  # fmt: skip
        rows = [row for row in rows if splits[row] != "test"]
        notes.append(f"left out the {len(records) - len(rows):,} images of the test split: none of them has a label")
    if missing := sum(numbers[row] is None for row in rows):
        notes.append(f"{missing:,} of {len(rows):,} images have no label (null, NaN or -1): probes leave them out")
    return Listing([dataclasses.replace(records[row], label=numbers[row]) for row in rows], classes, notes), rows


def doubt(values: Sequence[Any]) -> str | None:
    """Why a column without names is hardly a label, in words; None where nothing speaks against it."""
    known = [value for value in values if value is not None]
    different = len(set(known))
    if different > FEW and 2 * different > len(known):
        return f"nearly every row has a value of its own ({different:,} in {len(known):,})"
    fraction = next((value for value in known if isinstance(value, float)), None)
    return None if fraction is None else f"its numbers are not whole, such as {fraction}"


def plain_values(key: str, name: str, values: Sequence[Any]) -> list[Any]:
    """The values of a column as words and numbers, None where there is no label. Raises BadInput as `labelled`."""
    return [_plain(f"{key}: column {name!r}", value, Column.mend) for value in values]


def _plain(where: str, value: Any, mend: str) -> Any:
    """A label as a word or a number, whole where it can be; None for no label. Raises BadInput where it is neither."""
    if isinstance(value, list | dict | tuple | set):
        raise BadInput(f"{where}: a label is {str(value)[:80]}, not one word or number: {mend}")
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: a label is {str(value)[:80]}, bytes that are no word: {mend}") from error
    if isinstance(value, str):
        return None if value.strip() in NO_WORD else value
    if isinstance(value, decimal.Decimal):
        value = int(value) if value.is_finite() and not value % 1 else float(value)
    # NaN is the one value that is not itself: pandas writes it where a row has no label.
    if value is None or value != value:
        return None
    if isinstance(value, float):
        if math.isinf(value):
            raise BadInput(f"{where}: a label is {value}: {mend}")
        value = int(value) if value.is_integer() else value
    return None if value == -1 and not isinstance(value, bool) else value


def _within(key: str, values: list[Any], column: Column) -> list[int | None]:
    """Labels that number the column's names. Raises BadInput for one that is outside of them."""
    count = len(column.names or ())
    outside = [v for v in values if v is not None and not (type(v) is int and 0 <= v < count)]
    if outside:
        raise BadInput(
            f"{key}: {len(outside):,} labels of column {column.name!r} are outside of its {count} class names, such as "
            f"{outside[0]}: {column.mend}"
        )
    return values


def _numbered(where: str, values: list[Any], mend: str) -> tuple[list[int | None], list[str]]:
    """Labels of one kind as numbers, and their names, sorted. Raises BadInput for labels of several kinds."""
    kinds = sorted({_kind(value) for value in values if value is not None})
    if len(kinds) > 1:
        raise BadInput(f"{where}: the labels are of several kinds ({', '.join(kinds)}): {mend}")
    known = sorted({value for value in values if value is not None})
    number = {value: position for position, value in enumerate(known)}
    return [None if value is None else number[value] for value in values], [str(value) for value in known]


def _kind(value: Any) -> str:
    """Values of one kind have an order, and none is equal to one of another kind."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "word" if isinstance(value, str) else type(value).__name__
