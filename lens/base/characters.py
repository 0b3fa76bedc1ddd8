"""Texts in characters that a terminal has, with nothing in them that would steer it."""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Invisible characters that names are written with: between letters of Persian and of Indian scripts, within emoji."""


PLAINLY = str.maketrans({
    "–": "-", "−": "-", "…": "...", "·": "*", "×": "x", "±": "+-", "∞": "inf", "≥": ">=", "≤": "<=", "→": "->",
    "▲": "^", "▼": "v", "↑": "up", "↓": "down", "λ": "lambda", "ρ": "rho", "δ": "delta",
})  # fmt: skip
"""What our own words look like where a terminal has ASCII only."""


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
