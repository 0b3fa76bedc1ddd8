"""A person's regular expression, compiled and looked for in many names within a time limit."""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from lens.base.errors import BadInput

LONGEST = 1000
"""Characters of an expression, at most."""
SECONDS = 20.0
"""What looking through all names of a source may take: a million of them take a usual expression two."""


class _TooSlow(Exception):
    """The time is over."""


def compiled(text: str) -> re.Pattern[str]:
    """The expression of --group_by. Raises BadInput for one that is none, is too long, nests or repeats too much."""
    if len(text) > LONGEST:
        raise BadInput(f"--group_by {text[:40]!r}… has {len(text):,} characters: it may have {LONGEST:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of sets that a later Python may read otherwise
            return re.compile(text)
    except (re.error, OverflowError) as error:
        raise BadInput(f"--group_by {text!r} is no regular expression: {error}") from error
    except RecursionError as error:
        raise BadInput(f"--group_by {text[:40]!r}… nests too deep: write it with fewer parentheses") from error


def search(text: str, names: Sequence[str]) -> list[re.Match[str] | None]:
    """The first match of the expression in each name, None where there is none.

    Raises BadInput as `compiled`, and where it takes more than `SECONDS`: some expressions take a time that doubles with
    every letter of a name. That is noticed in the main thread alone.
    """
    pattern = compiled(text)
    found: list[re.Match[str] | None] = []
    try:
        with _time_limit(SECONDS):
            for name in names:
                found.append(pattern.search(name))
    except _TooSlow as error:
        name = names[min(len(found), len(names) - 1)]
        raise BadInput(
            f"--group_by {text[:80]!r} takes more than {SECONDS:g} s on {len(names):,} names, at {name[:80]!r} now: a repetition "
            "within a repetition, as in (a+)+, can take for ever; write it without"
        ) from error
    return found


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _TooSlow in the main thread after so many seconds; `re` asks for signals while it looks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    others, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, others, interval)
        signal.signal(signal.SIGALRM, before)
