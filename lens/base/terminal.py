"""What the person at the keyboard sees: lines, tables, a live bar, one line for a mistake; nobody need be listening."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, cast

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.base.ranks import launched, let_the_other_speak, own_rank
from lens.base.stopping import follow_parent, interrupt_on_signals
from lens.base.threads import choose_waiting

JOINERS = "\u200c\u200d"
"""Invisible characters that names are written with: between letters of Persian and of Indian scripts, within emoji."""
PLAINLY = str.maketrans({
    "–": "-", "−": "-", "…": "...", "·": "*", "×": "x", "±": "+-", "∞": "inf", "≥": ">=", "≤": "<=", "→": "->",
    "▲": "^", "▼": "v", "↑": "up", "↓": "down", "λ": "lambda", "ρ": "rho", "δ": "delta",
})  # fmt: skip
"""What our own words look like where a terminal has ASCII only."""


# --- characters ------------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """A stranger's text with what would steer a terminal made visible: ESC becomes `\\x1b`, a newline `\\x0a`.

    Escaped are control characters, line separators, marks of direction, invisible characters and what stands for bytes
    that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _STEERING and c not in JOINERS else c for c in text)


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fitting(text: str, stream: object) -> str:
    """A text in characters that a stream can encode: others are spelled plainly, or escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAINLY).encode(encoding, "backslashreplace").decode(encoding)
    return text


# --- streams ---------------------------------------------------------------------------------------------------------


class _Outlet:
    """Standard output or error as it is now; what cannot be written is dropped, and `lost` says why.

    A run must not end, and a finished one not look failed, because its reader has gone: the figures are on disk.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        # `_open_all` puts the null device in the place of a stream that was closed when we started.
        closed = stream is None or stream.closed or getattr(stream, "name", None) == os.devnull
        self.lost: OSError | None = OSError(errno.EBADF, "it is closed") if closed else None

    @property
    def encoding(self) -> str:
        """The stream's encoding, for rich."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal, for rich."""
        return self.lost is None and self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        """The stream's descriptor, for rich. Raises OSError where it has none."""
        if self.stream is None:
            raise OSError(errno.EBADF, "it is closed")
        return self.stream.fileno()

    def write(self, text: str) -> int:
        """Write, or drop."""
        if self.stream is not None and self.lost is None:
            try:
                # By the line: of what is written unbuffered, Python does not tell where a part was taken.
                for line in fitting(text, self.stream).splitlines(keepends=True):
                    self.stream.write(line)
            except OSError as error:
                self.lost = error
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        if self.stream is not None and self.lost is None:
            try:
                self.stream.flush()
            except OSError as error:
                self.lost = error


def _open_all() -> None:
    """Put the null device in the place of standard streams that are closed: a run's file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _settle(stream: TextIO) -> OSError | None:
    """Flush a stream; where that fails, return why and drop what it holds.

    Python would flush it once more when it ends, print an exception, and make the exit code 120.
    """
    outlet = _Outlet(stream)
    if getattr(stream, "name", None) == os.devnull or stream.closed:
        return None
    outlet.flush()
    if outlet.lost is not None and stream in (sys.__stdout__, sys.__stderr__):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
    return outlet.lost


def say(text: str) -> None:
    """One line for the person who waits; of several ranks the first speaks. Where nobody listens it is dropped."""
    if own_rank() == 0:
        _to_stderr(text)


def say_lines(text: str) -> None:
    """Several lines, each as `say` says it; what stands in them is made printable by whoever joins them."""
    for line in text.split("\n"):
        say(line)


def _to_stderr(line: str) -> None:
    outlet = _Outlet(sys.stderr)
    outlet.write(printable(line) + "\n")
    outlet.flush()


def put(text: str) -> None:
    """Lines that were asked for (a list of verbs, a report), to stdout. Raises StdoutLost where they cannot be written."""
    lines = "\n".join(printable(line) for line in text.split("\n"))
    with only_stdout_fails():
        sys.stdout.write(fitting(lines + "\n", sys.stdout))
        sys.stdout.flush()


class StdoutLost(OSError):
    """What was asked for cannot be written to stdout."""


@contextmanager
def only_stdout_fails() -> Iterator[None]:
    """Tell what stdout refuses from what a disk refuses: raises StdoutLost for an OSError that names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise StdoutLost(error.errno, error.strerror) from error


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

    outlet = _Outlet(sys.stdout)

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
            _settle(sys.stdout)
        place = f": its figures are in {where}" if where else ""
        say(f"the table could not be shown (stdout: {outlet.lost.strerror}){place}")


# --- entry points ----------------------------------------------------------------------------------------------------


def _tells_of_a_killed_reader(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _interrupt_later() -> None:
    time.sleep(0.1)
    _thread.interrupt_main(signal.SIGTERM)  # SIGINT may be ignored, and SIGTERM raises the same


@contextmanager
def hear_what_deletions_swallow() -> Iterator[None]:
    """Lose nothing, and print nothing, where a signal comes in the middle of a `__del__` or a weak reference's callback.

    Handlers raise wherever the main thread is, and what is raised there Python prints, and goes on. An interruption is
    raised again outside. torch's word of a killed reader is not: it asks after its readers again while it waits for the
    next batch, and what it raises there is what `guard` tells.
    """
    before = sys.unraisablehook

    def hook(met: sys.UnraisableHookArgs) -> None:
        if isinstance(met.exc_value, KeyboardInterrupt):
            _thread.start_new_thread(_interrupt_later, ())  # what is raised in here is swallowed too
        elif not _tells_of_a_killed_reader(met.exc_value):
            before(met)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def guard(body: Callable[[], int]) -> int:
    """Run an entry point: a person's mistake becomes one line on stderr and exit code 2, an interruption 130.

    Output that was asked for and cannot be written (a full disk) is such a line too; a reader that has had enough
    (`| head`) is none.
    """
    choose_waiting()
    _open_all()
    left: SystemExit | None = None
    code = 0
    try:
        code = _told(body)
    except SystemExit as error:  # what --help and --print_config end with
        left = error
    lost = _settle(sys.stdout)
    if lost is not None and lost.errno != errno.EPIPE and code == 0:
        code, left = _unwritten(lost), None
    _settle(sys.stderr)
    if left is not None:
        raise left
    return code


def _unwritten(lost: OSError) -> int:
    """The exit code where stdout took not all that was asked for, with its line."""
    if lost.errno == errno.EPIPE:
        return 0
    _to_stderr(f"lens: error: stdout takes nothing ({lost.strerror}): send it somewhere else")
    return 2


def _told(body: Callable[[], int]) -> int:
    try:
        with interrupt_on_signals(), hear_what_deletions_swallow():
            follow_parent()
            return body()
    except BadInput as error:
        _tell(error)
        return 2
    except RuntimeError as error:
        if any(words in str(error) for words in ("ancdata", os.strerror(errno.EMFILE))):
            # How torch tells of it where a reader hands over a batch.
            _tell(system_fault(OSError(errno.EMFILE, "")) or BadInput(str(error)))
            return 2
        if not _tells_of_a_killed_reader(error):
            raise
        _to_stderr(
            f"lens: error: a process that reads images was killed ({' '.join(str(error).split())}): continue with --resume, "
            "with fewer --num_workers if memory was short"
        )
        return 1
    except UnicodeEncodeError as error:
        if error.encoding != (sys.stdout.encoding or "").lower():
            raise
        letter = error.object[error.start]
        _to_stderr(f"lens: error: stdout is {error.encoding}, which lacks {letter!r}: set PYTHONIOENCODING=utf-8")
        return 2
    except StdoutLost as error:
        return _unwritten(error)
    except OSError as error:
        fault = system_fault(error)
        if fault is None:
            raise
        _tell(fault)
        return 2
    except KeyboardInterrupt:
        _to_stderr("lens: interrupted")
        return 130


def _tell(error: BadInput) -> None:
    """A mistake's one line. Before the ranks have met, most are all the ranks': the first speaks, another where it does not."""
    try:
        rank, processes = own_rank(), launched()
    except BadInput:  # the environment itself is the mistake
        rank, processes = 0, 1
    met = "torch" in sys.modules and sys.modules["torch"].distributed.is_initialized()
    if rank > 0 and not met:
        let_the_other_speak()
    who = f"rank {rank}: " if rank > 0 or (processes > 1 and met) else ""
    _to_stderr(f"lens: error: {who}{' '.join(str(error).split())}")


# --- the bar ---------------------------------------------------------------------------------------------------------


class Bar:
    """A live bar with rate and time left on a terminal; elsewhere a plain line after three seconds, then every ten."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        from rich.console import Console

        self.title, self.total, self.unit, self.first, self.done = printable(title), total, unit, done, done
        self.start = self.last_line = time.monotonic()
        self.told: int | None = None
        """What was done when the last plain line was written."""
        self.note = ""
        self.console = Console(file=cast(IO[str], _Outlet(sys.stderr)), quiet=own_rank() != 0)
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
