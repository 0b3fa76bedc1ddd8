"""How a process is asked to end: signals are collected so that it can save, and its parent's death is such a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIFELINE = "LENS_LIFELINE"
"""The environment variable that names the descriptor whose other end only the parent holds."""

_under_way = threading.Event()
"""Whether this process has been asked to end, and saves."""


def _asked_by() -> list[signal.Signals]:
    """The signals that ask to save and end. A SIGHUP that is ignored when we start (nohup) stays ignored."""
    hangs_up = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, *hangs_up]


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM, SIGHUP and SIGINT instead of dying of them; a second one stops at once.

    A second SIGHUP does not: a terminal that closes may send several.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received and number != signal.SIGHUP:
            raise KeyboardInterrupt
        received.append(number)
        _under_way.set()

    before = {number: signal.signal(number, receive) for number in (*_asked_by(), signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, wherever they are not collected."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        _under_way.set()
        raise KeyboardInterrupt

    _under_way.clear()
    before = {number: signal.signal(number, interrupt) for number in _asked_by()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_parent() -> None:
    """Where a parent has given this process a lifeline, end as on SIGTERM when the parent is gone, however it ended.

    Its end of the pipe closes with it, and a thread that waits for that sends the signal: not where one has come
    already, since a second one would stop the saving. The variable is removed: the lifeline is nobody else's.
    """
    number = os.environ.pop(LIFELINE, "")
    if not number.isdecimal():
        return
    descriptor = int(number)
    try:
        os.set_inheritable(descriptor, False)
    except OSError:  # the variable was left in the environment by somebody else: there is no such descriptor
        return

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        if not _under_way.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


class Lifeline:
    """A pipe whose writing end this process alone holds: whoever reads the other end learns when it is gone."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()

    def environment(self) -> dict[str, str]:
        """The environment of a child that is given the reading end (`pass_fds`) and follows it."""
        return os.environ | {LIFELINE: str(self.reading)}

    def close(self) -> None:
        """Close both ends, when the children have ended."""
        os.close(self.reading)
        os.close(self._writing)
