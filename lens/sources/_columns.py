"""What the sources that read tables share: choosing a column, numbering labels, rows without one."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.protocols import BadInput, Record, nearest


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


def numbered(values: list[Any]) -> tuple[list[int | None], list[str]]:
    """Labels of any kind as numbers, None where there is none (null, NaN), and their names, sorted.

    Raises BadInput for labels that are no single word or number, or of several kinds: 1 and "1" are no two classes.
    """
    values = [_plain(value) for value in values]
    kinds = sorted({_kind(value) for value in values if value is not None})
    if len(kinds) > 1:
        raise BadInput(
            f"the labels are of several kinds ({', '.join(kinds)}): write them alike, or name another --label_column"
        )
    known = sorted({value for value in values if value is not None})
    number = {value: position for position, value in enumerate(known)}
    return [None if value is None else number[value] for value in values], [str(value) for value in known]


def within(key: str, column: str, values: list[Any], names: list[str]) -> list[int | None]:
    """Labels that number `names`, None where there is none: null, or -1, as the hub writes it.

    Raises BadInput for a label that is outside of the names.
    """
    outside = [value for value in values if value is not None and not -1 <= value < len(names)]
    if outside:
        raise BadInput(
            f"{key}: {len(outside):,} labels of column {column!r} are outside of its {len(names)} class names, such as "
            f"{outside[0]}: mend them, or name another --label_column"
        )
    return [None if value == -1 else value for value in values]


def labelled(key: str, records: list[Record], labels: list[int | None]) -> tuple[list[Record], list[int]]:
    """The records with their labels, and the rows that they are: without a test split whose labels are kept back.

    That is ImageNet's habit, and val is what one then tests on. Raises BadInput where another row has no label.
    """
    kept = list(range(len(records)))
    withheld = all(label is None for label, record in zip(labels, records, strict=True) if record.split == "test")
    if withheld and "val" in {record.split for record in records}:
        kept = [row for row in kept if records[row].split != "test"]
    if missing := sum(labels[row] is None for row in kept):
        raise BadInput(f"{key} has {missing} rows without a label: name another --label_column")
    return [dataclasses.replace(records[row], label=labels[row]) for row in kept], kept


def _plain(value: Any) -> Any:
    """A label as a word or a number; None for NaN. Raises BadInput where it is neither."""
    if isinstance(value, list | dict | tuple | set):
        raise BadInput(f"a label is {str(value)[:80]}, not one word or number: name another --label_column")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(
                f"a label is {str(value)[:80]}, bytes that are no word: name another --label_column"
            ) from error
    # NaN is the one value that is not itself: pandas writes it where a row has no label.
    return None if value != value else value


def _kind(value: Any) -> str:
    """Values of one kind have an order, and none is equal to one of another kind."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "word" if isinstance(value, str) else type(value).__name__
