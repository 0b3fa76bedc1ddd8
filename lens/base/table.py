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
LEAST = 20
"""Characters across, at least, whatever a terminal says of itself."""


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
    console.width = max(console.width, LEAST)
    headings = [text(column).plain for column in columns]
    if _narrowest(headings, [[text(word).plain for word in row] for row in rows], left) <= console.width:
        console.print(table)
    else:
        console.print(text(title, "italic"))
        for number, row in enumerate(rows):
            named = [f"{columns[k]} {word}" for k, word in enumerate(row) if columns[k] in left and word]
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
    """Characters that a table takes across where no word of a column of figures is broken; names may be folded.

    rich makes the widest columns narrower, all to the same width: none of figures may then have a longer word.
    """
    from rich.cells import cell_len

    cells = [[column, *(row[k] for row in rows)] for k, column in enumerate(columns)]
    figures = [cell for k, column in enumerate(columns) if column not in left for cell in cells[k]]
    width = max([FOLDED, *(cell_len(word) for cell in figures for word in cell.split())])
    return 1 + sum(3 + min(width, max(map(cell_len, column))) for column in cells)
