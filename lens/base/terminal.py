"""Standard output and error: lines for the person at the keyboard; nobody need be listening."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lens.base.characters import fitting, printable
from lens.base.ranks import own_rank


class Outlet:
    """Standard output or error as it is now; what cannot be written is dropped, and `lost` says why.

    A run must not end, and a finished one not look failed, because its reader has gone: the figures are on disk.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        # `open_all` puts the null device in the place of a stream that was closed when we started.
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


def open_all() -> None:
    """Put the null device in the place of standard streams that are closed: a run's file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def settle(stream: TextIO) -> OSError | None:
    """Flush a stream; where that fails, return why and drop what it holds.

    Python would flush it once more when it ends, print an exception, and make the exit code 120.
    """
    outlet = Outlet(stream)
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
        to_stderr(text)


def say_lines(text: str) -> None:
    """Several lines, each as `say` says it; what stands in them is made printable by whoever joins them."""
    for line in text.split("\n"):
        say(line)


def to_stderr(line: str) -> None:
    outlet = Outlet(sys.stderr)
    outlet.write(printable(line) + "\n")
    outlet.flush()


def print_lines(text: str) -> None:
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
