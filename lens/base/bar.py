"""A live bar for whatever takes long."""

from __future__ import annotations

import sys
import time
from typing import IO, Any, cast

from lens.base.characters import printable
from lens.base.ranks import own_rank
from lens.base.terminal import Outlet, say


class Bar:
    """A live bar with rate and time left on a terminal; elsewhere a plain line after three seconds, then every ten."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        from rich.console import Console

        self.title, self.total, self.unit, self.first, self.done = printable(title), total, unit, done, done
        self.start = self.last_line = time.monotonic()
        self.told: int | None = None
        """What was done when the last plain line was written."""
        self.note = ""
        self.console = Console(file=cast(IO[str], Outlet(sys.stderr)), quiet=own_rank() != 0)
        self.live: Any = None

    def __enter__(self) -> Bar:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        if self.console.is_terminal and not self.console.quiet:
            words = [f"{{task.fields[{name}]}}" for name in ("rate", "left", "note")]
            title, *others = (TextColumn(text, markup=False) for text in ("{task.description}", *words))
            self.live = Progress(title, BarColumn(), MofNCompleteColumn(), *others, console=self.console)
            self.row = self.live.add_task(self.title, total=self.total, completed=self.done, rate="", left="", note="")
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()
        elif self.first < self.done != self.told:
            self._line()

    def advance(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done."""
        self.done, self.note = done, printable(note) or self.note
        if self.live is not None:
            self.live.update(self.row, completed=done, rate=self._rate(), left=self._left(), note=self.note)
        elif time.monotonic() - self.last_line > (3 if self.told is None else 10):
            self._line()

    def add(self, count: int = 1) -> None:
        """Show that `count` more are done."""
        self.advance(self.done + count)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self.start, 1e-6)
        return f"{(self.done - self.first) / seconds:.2f} {self.unit}/s"

    def _line(self) -> None:
        self.last_line, self.told = time.monotonic(), self.done
        line = f"{self.title} {self.done}/{self.total}, {self._rate()}, {self._left()}  {self.note}"
        say(line.rstrip())

    def _left(self) -> str:
        # At the mean rate since the start: runs of minutes leave rich's window of 30 s without a rate.
        if self.done == self.first:
            return ""
        seconds = time.monotonic() - self.start
        return f"{seconds / (self.done - self.first) * (self.total - self.done):.0f} s left"
