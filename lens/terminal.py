"""What the person at the keyboard sees: a live bar, clean stops, one line for a mistake."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lens.protocols import BadInput
from lens.ranks import launched, let_the_other_speak, own_rank


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them; a second one stops at once."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does, wherever it is not collected."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tells_of_a_killed_reader(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


@contextmanager
def tell_of_killed_readers_once() -> Iterator[None]:
    """Print nothing where torch learns in the middle of a `__del__` that a reader was killed.

    Its signal handler raises wherever the main thread is. Python prints what is raised in a `__del__`, and goes on; torch
    asks after its readers again while it waits for the next batch, and what it raises there is what `guard` tells.
    """
    before = sys.unraisablehook

    def hook(met: sys.UnraisableHookArgs) -> None:
        if not _tells_of_a_killed_reader(met.exc_value):
            before(met)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def guard(body: Callable[[], int]) -> int:
    """Run an entry point: a person's mistake becomes one line on stderr and exit code 2, an interruption 130."""
    try:
        with interrupt_on_sigterm(), tell_of_killed_readers_once():
            return body()
    except BadInput as error:
        # Before the ranks have met, most mistakes are all the ranks': the first speaks, another where that has not ended it.
        met = "torch" in sys.modules and sys.modules["torch"].distributed.is_initialized()
        if own_rank() > 0 and not met:
            let_the_other_speak()
        who = f"rank {own_rank()}: " if own_rank() > 0 or (launched() > 1 and met) else ""
        print(f"lens: error: {who}{' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    except RuntimeError as error:
        if not _tells_of_a_killed_reader(error):
            raise
        print(
            f"lens: error: a process that reads images was killed ({' '.join(str(error).split())}): continue with --resume, "
            "with fewer --workers if memory was short",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("lens: interrupted", file=sys.stderr)
        return 130


def say(text: str) -> None:
    """One line for the person who waits; of several ranks the first speaks."""
    if own_rank() == 0:
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A live bar with rate and time left on a terminal; elsewhere a plain line every ten seconds."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        from rich.console import Console

        self.title, self.total, self.unit, self.first, self.done = title, total, unit, done, done
        self.start = self.last_line = time.monotonic()
        self.note = ""
        self.console = Console(stderr=True, quiet=own_rank() != 0)
        self.live: Any = None

    def __enter__(self) -> Bar:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        if self.console.is_terminal and not self.console.quiet:
            columns = [
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[left]}"), TextColumn("{task.fields[note]}"),
            ]  # fmt: skip
            self.live = Progress(*columns, console=self.console)
            self.row = self.live.add_task(self.title, total=self.total, completed=self.done, rate="", left="", note="")
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()
        elif self.done > self.first:
            self._line()

    def advance(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done."""
        self.done, self.note = done, note or self.note
        if self.live is not None:
            self.live.update(self.row, completed=done, rate=self._rate(), left=self._left(), note=self.note)
        elif time.monotonic() - self.last_line > 10:
            self._line()

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self.start, 1e-6)
        return f"{(self.done - self.first) / seconds:.2f} {self.unit}/s"

    def _line(self) -> None:
        self.last_line = time.monotonic()
        line = f"{self.title} {self.done}/{self.total}, {self._rate()}, {self._left()}  {self.note}"
        say(line.rstrip())

    def _left(self) -> str:
        # At the mean rate since the start: runs of minutes leave rich's window of 30 s without a rate.
        if self.done == self.first:
            return ""
        seconds = time.monotonic() - self.start
        return f"{seconds / (self.done - self.first) * (self.total - self.done):.0f} s left"
