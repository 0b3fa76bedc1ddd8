"""What the sources that read tables share: choosing a column, numbering labels."""

from __future__ import annotations

from typing import Any

from lens.protocols import BadInput, nearest


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
    """Labels of any kind as numbers, None where there is none, and their names, sorted.

    Raises BadInput for labels that are no single word or number.
    """
    if several := [value for value in values if isinstance(value, list | dict)]:
        raise BadInput(f"a label is {str(several[0])[:80]}, not one word or number: name another --label_column")
    known = sorted({value for value in values if value is not None})
    number = {value: position for position, value in enumerate(known)}
    return [number.get(value) for value in values], [str(value) for value in known]
