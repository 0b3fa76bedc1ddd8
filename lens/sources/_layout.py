"""What the folders of an image folder mean: splits, classes, or a mistake that has a likely meaning."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable

from lens.base.errors import BadInput
from lens.base.walk import Passed, by_ending, is_foreign
from lens.sources._files import SPLITS

_SPLIT = re.compile(
    r"(train|training|test|testing|val|valid|validation)"
    r"(?:[ _.-]?(?:set|data|dataset|split|images?|imgs?|photos?|pictures?|(?:19|20)\d\d))?",
    re.IGNORECASE,
)
SHOWN = 5
"""Folders that a line names, at most."""
ByFolder = dict[str, list[str]]
"""Files by the folder that they lie in, "" for those that lie in none."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Each file with its split and the name of its class, "" where it has none; all classes, sorted; lines for the person."""

    entries: list[tuple[str, str | None, str]]
    classes: list[str]
    notes: list[str]


def split_of(name: str) -> str | None:
    """The split that a folder's name says, in any case and with the words that people add: test_set, train2017."""
    found = _SPLIT.fullmatch(name)
    return SPLITS[found[1].lower()] if found else None


def layout_of(path: str, files: list[str], passed: Passed) -> Layout:
    """The layout of image files below `path`, which are relative to it and sorted; `passed` tells of what else lies there.

    Raises BadInput where images lie beside class folders or training images beside folders that are no split, and where
    splits lie below the class folders, in a folder of their own, or have each a single class of its own.
    """
    top = _by_folder(files)
    splits = {name: split for name in _folders(path) if (split := split_of(name))}
    _refuse_splits_below(path, top)
    if "train" not in splits.values():
        named = [name for name in top if name]
        if len(named) > 1 and all(name in splits for name in named):
            raise BadInput(f"{path} has {_listed(named)} and no train/: the training images belong in one")
        return _read(path, {"": top}, {"": None}, passed)
    others = [name for name in top if name and name not in splits]
    if others:
        raise BadInput(
            f"{path} has a training folder beside folders that are no split ({', '.join(others[:3])}): splits are called "
            "train, val and test; move the others away, or rename the training folder if it is a class"
        )
    parts = {name: _by_folder(_inside(name, top.get(name, []))) for name in splits}
    given: dict[str, str | None] = dict(splits) if len(splits) > 1 else dict.fromkeys(splits)
    found = _read(path, parts, given, passed)
    notes = [f"{name}/ is read as {split}" for name, split in splits.items() if name.lower() not in SPLITS]
    if stray := top.get("", []):
        notes.append(f"passed over {len(stray):,} images beside the splits' folders ({', '.join(stray[:2])})")
    return dataclasses.replace(found, notes=[*notes, *found.notes])


def _read(path: str, parts: dict[str, ByFolder], splits: dict[str, str | None], passed: Passed) -> Layout:
    """The layout of folders that are splits, or of the whole folder as the one part ""."""
    classes = sorted({name for part in parts.values() for name in part if name})
    entries, notes = [], []
    for part, by_class in parts.items():
        stray = by_class.get("", [])
        if stray and len(by_class) > 1:
            raise BadInput(
                f"{os.path.join(path, part)} holds {len(stray)} images beside class folders: move them into a class "
                "folder, or away"
            )
        if stray and classes:
            notes.append(f"{len(stray):,} images of {part}/ lie in no class folder: they have no label")
        if part and not by_class:
            notes.append(f"no image in {part}/{_holding(part, passed) or ''}")
        for name, files in by_class.items():
            entries += [(os.path.join(part, file), splits[part], name) for file in files]
    if classes:
        notes += _without_images(path, parts, passed) + _wrapped(path, parts) + _apart(path, parts, splits)
    return Layout(entries, classes, notes)


def _refuse_splits_below(path: str, top: ByFolder) -> None:
    """Raise BadInput where a folder holds a training folder and another split: they would be read as one class."""
    for name, files in top.items():
        place, inner = _unwrapped(os.path.join(path, name), _by_folder(_inside(name, files))) if name else ("", {})
        found = [split_of(folder) for folder in inner]
        if len(inner) > 1 and "train" in found and None not in found:
            advice = (
                f"give --data {place}/" if len(top) == 1 else f"splits come first, as in {next(iter(inner))}/{name}/"
            )
            raise BadInput(f"{place} holds {_listed(inner)}, which would all be read as one class: {advice}")


def _without_images(path: str, parts: dict[str, ByFolder], passed: Passed) -> list[str]:
    """A line that names the class folders without an image; those that hold nothing but our own folders are none."""
    names = [os.path.join(part, name) for part, by_class in parts.items() if "" not in by_class for name in _folders(os.path.join(path, part)) if name not in by_class]  # fmt: skip
    told = [f"{name}{holding}" for name in names if (holding := _holding(name, passed)) is not None]
    more = f" and {len(told) - SHOWN:,} more" if len(told) > SHOWN else ""
    return [f"no image in the class folders {', '.join(told[:SHOWN])}{more}"] if told else []


def _holding(folder: str, passed: Passed) -> str | None:
    """What a folder without an image holds, in brackets; None where that is nothing but folders that have been told of."""
    inside = {
        kind: found
        for kind, names in passed.names.items()
        if (found := [name for name in names if name.startswith(folder + os.sep)])
    }
    endings = {kind: names for kind, names in inside.items() if kind == "" or kind.startswith(".")}
    if endings:
        return f" ({by_ending(endings)})"
    if hidden := inside.get("hidden name"):
        return f" ({len(hidden):,} hidden)"
    return None if inside else " (empty)"


def _wrapped(path: str, parts: dict[str, ByFolder]) -> list[str]:
    """A line where the one class has folders of its own, as an archive that was unpacked into its folder leaves them."""
    place, inner, classes = path, dict[str, list[str]](), set[str]()
    for part, by_class in parts.items():
        classes |= set(by_class)
        place, folders = _unwrapped(os.path.join(path, part), by_class)
        inner |= folders
    if len(classes) > 1 or len(inner) < 2 or "" in inner:
        return []
    name = next(iter(classes))
    what = f"give --data {place}/" if len(parts) == 1 else f"move them up, out of {name}/"
    return [f"it has one class, {name}, with the folders {_listed(inner)} in it: if those are the classes, {what}"]


def _unwrapped(place: str, folders: ByFolder) -> tuple[str, ByFolder]:
    """The first folder from `place` on that holds files, or several folders; what it holds."""
    while len(folders) == 1 and "" not in folders:
        name, files = next(iter(folders.items()))
        place, folders = os.path.join(place, name), _by_folder(_inside(name, files))
    return place, folders


def _apart(path: str, parts: dict[str, ByFolder], splits: dict[str, str | None]) -> list[str]:
    """A line where held-out images have no class of the training images.

    Raises BadInput where each split has one class, and each another: a folder too much lies between.
    """
    trained = {name for part, by_class in parts.items() if splits[part] == "train" for name in by_class if name}
    held = {part: {name for name in by_class if name} for part, by_class in parts.items() if splits[part] != "train"}
    notes = []
    for part, names in held.items():
        if trained and names and not names & trained:
            if len(trained) == len(names) == 1:
                raise BadInput(
                    f"{os.path.join(path, part)} has the one class {next(iter(names))} and the training folder the one class "
                    f"{next(iter(trained))}: the same class folders belong in both; if these hold them, move them up"
                )
            notes.append(f"{part}/ has no class of the training images, so that a probe on it can be right about none")
    return notes


def _folders(path: str) -> list[str]:
    """The folders in a folder, links to some included, that may hold somebody's images; sorted."""
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not is_foreign(entry.name))


def _by_folder(files: Iterable[str]) -> ByFolder:
    found: ByFolder = {}
    for file in files:
        name, slash, _ = file.partition(os.sep)
        found.setdefault(name if slash else "", []).append(file)
    return found


def _inside(folder: str, files: Iterable[str]) -> list[str]:
    return [file[len(folder) + 1 :] for file in files]


def _listed(names: Iterable[str]) -> str:
    shown = [f"{name}/" for name in names]
    return ", ".join(shown[:SHOWN]) + ", …" * (len(shown) > SHOWN)
