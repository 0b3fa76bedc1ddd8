"""A table on standard output."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, cast

from lens.base.characters import fitting, printable
from lens.base.terminal import Outlet, say, settle


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

    Where stdout is closed, full or read by nobody one line on stderr says so, and that the figures lie in `where`.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    outlet = Outlet(sys.stdout)

    def text(words: str, style: str = "") -> Text:  # no markup: a name may hold brackets
        return Text(fitting(printable(words), outlet), style=style)

    table = Table(title=text(title), caption=text(caption) if caption else None, show_lines=lines)
    for column in columns:
        table.add_column(text(column), justify="left" if column in left else "right")
    for number, row in enumerate(rows):
        flags = bold[number] if bold else [False] * len(row)
        table.add_row(*(text(word, "bold" if flag else "") for word, flag in zip(row, flags, strict=True)))
    console = Console(file=cast(IO[str], outlet), highlight=False)
    console.print(table)
    for note, style in notes:
        console.print(text(note, style))
    outlet.flush()
    if outlet.lost is not None:
        if sys.stdout is not None:
            settle(sys.stdout)
        place = f": its figures are in {where}" if where else ""
        say(f"the table could not be shown (stdout: {outlet.lost.strerror}){place}")
