"""The files below a folder that are somebody's: what other programs, hidden names and lens itself leave there is counted."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Container, Iterable, Iterator
from typing import NoReturn

from lens.base.errors import BadInput
from lens.base.files import system_fault

OTHER_PROGRAMS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders that macOS, network disks, Windows and file systems put beside somebody's files."""
OWN = {
    "run directory": ("settings.yaml", {"metrics.jsonl", "commands.txt", "origin.json", "splits.jsonl.gz", "summary.json", "checkpoint"}),
    "grid directory": ("grid.yaml", {"lock", "runs", "logs", "failed.json", "table.csv"}),
    "comparison": ("maps.json", {"maps.npz"}),
    "transfer table": ("transfer.json", {"transfer.md"}),
    "audit": ("audit.json", {"audit.npz"}),
    "image cache": ("images.npy", {"meta.json", "verified.json"}),
}  # fmt: skip
"""Our own folders, which hold pictures too: what they are called, and the file and one of several by which they are known."""


@dataclasses.dataclass
class Passed:
    """What is passed over, as names below the folder: hidden ones, folders of other programs and our own, files by ending."""

    names: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count a name; a kind is an ending (".txt", or "" for none) or says what the name is."""
        self.names.setdefault(kind, []).append(name)

    def note(self) -> list[str]:
        """How many of which kind, in one line; no line where there are none."""
        endings = {kind: names for kind, names in self.names.items() if kind == "" or kind.startswith(".")}
        parts = []
        if endings:
            total = sum(map(len, endings.values()))
            parts.append(f"{total:,} file{'s' * (total > 1)} ({by_ending(endings)})")
        for kind, names in self.names.items():
            if kind not in endings:
                shown = ", ".join(names[:2]) + ", …" * (len(names) > 2)
                plural = kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + "s"
                parts.append(f"{len(names):,} {plural if len(names) > 1 else kind} ({shown})")
        return [f"passed over {', '.join(parts)}"] if parts else []


def by_ending(endings: dict[str, list[str]]) -> str:
    """Files by their endings in words, the most frequent ones first: `2 .txt, 1 .db`."""
    most = sorted(endings.items(), key=lambda item: (-len(item[1]), item[0]))
    rest = sum(len(names) for _, names in most[6:])
    words = [f"{len(names):,} {ending or 'without an ending'}" for ending, names in most[:6]]
    return ", ".join(words + [f"{rest:,} others"] * (rest > 0))


def is_foreign(name: str) -> str | None:
    """What a name is called that is nobody's picture or folder of pictures, whatever it holds; None for any other."""
    if name in OTHER_PROGRAMS:
        return "foreign folder"
    return "hidden name" if name.startswith(".") and name not in (".", "..") else None


def own_kind(entries: Iterable[str]) -> str | None:
    """What a folder with these entries is, where it is one of ours; else None."""
    found = set(entries)
    return next((kind for kind, (mark, beside) in OWN.items() if mark in found and beside & found), None)


def entries(folder: str) -> list[str]:
    """The names in a folder. Raises BadInput where it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    advice = "mend it or move it away"
    raise system_fault(error) or BadInput(
        f"cannot read the folder {error.filename} ({error.strerror}): {advice}"
    ) from error


def walk(folder: str, passed: Passed | None = None) -> Iterator[str]:
    """All files of somebody's below `folder`, relative to it; links to folders are followed, each real folder once.

    So a loop ends. Passed over, and added to `passed`, are hidden files and folders, folders that other programs or lens
    itself leave among pictures, and a folder's second link; the folder that is named may be any of them. Raises BadInput
    for a folder that cannot be read: images would be missing without a word.
    """
    passed = Passed() if passed is None else passed
    status = os.stat(folder)
    seen = {(status.st_dev, status.st_ino)}
    for place, subfolders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        prefix = "" if place == folder else os.path.relpath(place, folder) + os.sep
        if prefix and (kind := own_kind([*subfolders, *files])):
            passed.add(kind, prefix)
            subfolders.clear()
            continue
        kept = []
        for name in sorted(subfolders):
            if kind := is_foreign(name):
                passed.add(kind, prefix + name + os.sep)
                continue
            try:
                status = os.stat(os.path.join(place, name))
            except OSError as error:
                _refuse(error)
            if (status.st_dev, status.st_ino) in seen:
                passed.add("repeated link", prefix + name + os.sep)
            else:
                seen.add((status.st_dev, status.st_ino))
                kept.append(name)
        subfolders[:] = kept
        for name in files:
            if name.startswith("."):
                passed.add("hidden name", prefix + name)
            else:
                yield prefix + name


def files_ending_in(endings: Container[str], folder: str, passed: Passed) -> list[str]:
    """The files that `walk` finds whose ending (lower case, with the dot) is one of these; the others are added to `passed`."""
    found = []
    for name in walk(folder, passed):
        ending = os.path.splitext(name)[1].lower()
        if ending in endings:
            found.append(name)
        else:
            passed.add(ending, name)
    return found
