"""Mistakes of the person at the keyboard, and the checks that tell of them in one line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class BadInput(ValueError):
    """A mistake of the person at the keyboard: shown as one line, exit code 2, no traceback."""


MOST = 20
"""Known words that an error line lists."""
MOST_COUNT = 10**12
"""Images, steps, epochs, at most: more of them no machine counts."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The ending of an error line: the nearest known word, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    shown = ", ".join(known) if len(known) <= MOST else f"{len(known)} of them"
    return f"{hint}(known: {shown})"


LONGEST_PATH = 4095
LONGEST_NAME = 255
"""Bytes of a path, and of a part of it, at most, that Linux takes."""


def check_text(text: str) -> None:
    """Raise BadInput for a text that no file of settings can hold, or no path: not UTF-8, or with a NUL character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{text[:80]!r} is no UTF-8, so that no settings file can hold it: rename it, or make a link to it with a plain name"
        ) from error
    if "\0" in text:
        raise BadInput(f"{text[:80]!r} has a NUL character: no name has")


def check_path(text: str) -> None:
    """Raise BadInput for a text that cannot be a path: see `check_text`, or too long, as a whole or in a part."""
    check_text(text)
    if (length := len(text.encode("utf-8"))) > LONGEST_PATH:
        raise BadInput(f"the path {text[:40]!r}… has {length:,} bytes: it may have {LONGEST_PATH:,}")
    longest = max(len(part.encode("utf-8")) for part in text.split("/"))
    if longest > LONGEST_NAME and ":" not in text:
        raise BadInput(f"the path {text[:40]!r}… has a part of {longest:,} bytes: it may have {LONGEST_NAME}")


def check_number(
    name: str, value: float, *, low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise BadInput unless `value` is finite and within [low, high], without an end that is `open`."""
    outside = value < low or value > high or (open_low and value == low) or (open_high and value == high)
    if not math.isfinite(value) or outside:
        below = f"above {low:g}" if open_low else f"at least {low:g}"
        above = "" if math.isinf(high) else f" and {'below' if open_high else 'at most'} {high:g}"
        raise BadInput(f"--{name} is {value}: it must be a finite number, {below}{above}")
