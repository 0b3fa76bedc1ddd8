"""A table on standard output."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, cast

from lens.base.characters import fitting, printable
from lens.base.terminal import Outlet, say, settle

FOLDED = 12
"""Characters of a name, at least, before it goes on in the next line."""


def show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Collection[str] = (),
    where: Path | None = None,
    bold: Sequence[Sequence[bool]] | None = None,
    caption: str = "",
    lines: bool = False,
    notes: Sequence[tuple[str, str]] = (),
) -> None:
    """Print a table to stdout: columns to the right but for those in `left`, notes (text, style) below it.

    Where a terminal is too narrow for it every row has lines of its own, so that no figure is cut.
    Where stdout is closed, full or read by nobody one line on stderr says so, and that the figures lie in `where`.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    outlet = Outlet(sys.stdout)

    def text(words: str, style: str = "") -> Text:  # no markup: a name may hold brackets
        return Text(fitting(printable(words), outlet), style=style)

    styles = [["bold" if bold and bold[number][k] else "" for k in range(len(columns))] for number in range(len(rows))]
    table = Table(title=text(title), caption=text(caption) if caption else None, show_lines=lines)
    for column in columns:
        table.add_column(text(column), justify="left" if column in left else "right", overflow="fold")
    for number, row in enumerate(rows):
        table.add_row(*(text(word, styles[number][k]) for k, word in enumerate(row)))
    console = Console(file=cast(IO[str], outlet), highlight=False)
    if _narrowest(columns, rows, left) <= console.width:
        console.print(table)
    else:
        console.print(text(title, "italic"))
        for number, row in enumerate(rows):
            named = [word for k, word in enumerate(row) if columns[k] in left and word]
            console.print(text(", ".join(named) or f"row {number + 1}", "underline"))
            figures = [k for k, word in enumerate(row) if columns[k] not in left and word]
            told = [text(f"{columns[k]} ") + text(row[k], styles[number][k]) for k in figures]
            console.print(Padding(text(" · ").join(told), (0, 0, 0, 2)))
        if caption:
            console.print(text(caption))
    for note, style in notes:
        console.print(text(note, style))
    outlet.flush()
    if outlet.lost is not None:
        if sys.stdout is not None:
            settle(sys.stdout)
        place = f": its figures are in {where}" if where else ""
        say(f"the table could not be shown (stdout: {outlet.lost.strerror}){place}")


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str]) -> int:
    """Characters that a table takes across where every figure and every heading's word is whole; names may be folded."""
    from rich.cells import cell_len

    needed = 1
    for number, column in enumerate(columns):
        cells = [column, *(row[number] for row in rows)]
        longest = max(cell_len(word) for cell in cells for word in (cell.split() or [""]))
        needed += 3 + (min(longest, FOLDED) if column in left else longest)
    return needed
