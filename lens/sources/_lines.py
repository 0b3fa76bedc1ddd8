"""The lines of a file list, as people, spreadsheets and other tools write them: a path and a label each."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

from lens.base.errors import LONGEST_PATH, BadInput
from lens.base.files import MEBIBYTE, read_bytes, system_fault
from lens.sources._files import image_endings

LARGEST = 1024 * MEBIBYTE
"""Bytes of a list, at most: ImageNet-21k's 14 million lines have half of that."""
LONGEST_LABEL = 18
"""Digits of a label, at most."""
LONGEST_WORD = 255
"""Characters of a label that is a word, at most."""
_BLANKS, _COMMAS = " \t", ",;\t"
"""What parts a path from a number, and, alone or with these, from a word: a path may have spaces in it."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?|nan", re.IGNORECASE)
_TITLE = re.compile(r"(image|img|file|path|name|class|label|category|target|id|y|[_ ])+", re.IGNORECASE)
Line = tuple[str, int | float | str]


def lines_of(file: Path, exists: Callable[[str], bool]) -> tuple[list[Line], list[str]]:
    """The path and the label of each line that is not empty, and lines for the person.

    A first line of titles is passed over. A path of Windows is read with / where nothing is called as it stands.
    Raises BadInput, with the line's number, for any other line, and for a file that cannot be read.
    """
    found: list[Line] = []
    notes: list[str] = []
    first = True
    for number, line in enumerate(map(str.strip, _text(file)), start=1):
        if not line:
            continue
        path, label = _parts(line)
        if first and _is_header(line, path, label) and not (path and exists(path)):
            notes.append(f"line {number} of {file.name} is taken for its titles: {line[:80]!r}")
            first = False
            continue
        path = _as_it_is_called(path, exists)
        if wrong := _wrong(path, label, exists):
            raise BadInput(f"{file}, line {number}: {line[:80]!r} {wrong}")
        found.append((path, _value(label)))
        first = False
    return found, notes


def _text(file: Path) -> io.TextIOBase:
    """The text of a list. Names keep bytes that are no UTF-8; a byte-order mark says what it is and belongs to no name."""
    try:
        content = read_bytes(file, LARGEST)
    except OSError as error:
        raise system_fault(error, file) or BadInput(f"cannot read the file list {file} ({error.strerror})") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # what Excel calls Unicode text
        try:
            return io.StringIO(content.decode("utf-16"), newline=None)
        except UnicodeDecodeError as error:
            raise BadInput(f"{file} begins as UTF-16 and is none ({error.reason}): save it as UTF-8") from error
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape")


def _parts(line: str) -> tuple[str, str]:
    """The path and the label of a line, both empty where nothing parts them.

    By hand: a regular expression would take the square of a long line's length.
    """
    if '"' in line:
        for comma in _COMMAS:
            try:
                cells = next(csv.reader([line], delimiter=comma, skipinitialspace=True))
            except csv.Error:
                continue
            if len(cells) == 2:
                return cells[0].strip(), cells[1].strip()
    place = max(line.rfind(comma) for comma in _COMMAS)
    by_comma = (line[:place].strip(), line[place + 1 :].strip()) if place >= 0 else ("", "")
    place = max(line.rfind(mark) for mark in _BLANKS + _COMMAS)
    path, label = line[: place + 1].rstrip(_BLANKS + _COMMAS), line[place + 1 :]
    by_number = place >= 0 and _NUMBER.fullmatch(label)
    return (path, label) if by_number and not _is_image(by_comma[0]) else by_comma


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in image_endings()


def _as_it_is_called(path: str, exists: Callable[[str], bool]) -> str:
    """A path without quotes around it and with / for Windows's \\, unless something is called as it stands."""
    if not ("\\" in path or path.startswith('"')) or "\0" in path or len(path) > LONGEST_PATH or exists(path):
        return path
    if len(path) > 2 and path[0] == path[-1] == '"':
        path = path[1:-1]
    return path if "/" in path else path.replace("\\", "/")


def _is_header(line: str, path: str, label: str) -> bool:
    """Whether a line is one of titles: a word for a path and one for a label."""
    cells = [path, label] if path else line.split()
    return len(cells) == 2 and all(_TITLE.fullmatch(cell.strip('"')) for cell in cells)


def _wrong(path: str, label: str, exists: Callable[[str], bool]) -> str | None:
    """What is wrong with a line, as the end of a sentence; None where nothing is."""
    if not path or not label or _is_image(label):
        return "is not `path label`, as in `a/abbey/1.jpg 0`"
    if "\0" in path or len(os.fsencode(path)) > LONGEST_PATH:
        return f"names no file: a path has no NUL character and at most {LONGEST_PATH:,} bytes"
    number = _NUMBER.fullmatch(label)
    if number and len(label) > LONGEST_LABEL:
        return f"has a label of {len(label):,} digits: it may have {LONGEST_LABEL}"
    if len(label) > LONGEST_WORD:
        return f"has a label of {len(label):,} characters: it may have {LONGEST_WORD}"
    ending = os.path.splitext(path)[1]
    cut = min((place for mark in _BLANKS + _COMMAS if (place := ending.find(mark)) > 0), default=0)
    if ending[:cut].lower() in image_endings() and not exists(path):
        return "has more than a path and a label: a list has these two"
    return None


def _value(label: str) -> int | float | str:
    """A label as a number, where it is written as one."""
    if not _NUMBER.fullmatch(label):
        return label
    return float(label) if "." in label or label.lower() == "nan" else int(label)
