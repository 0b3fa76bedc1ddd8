"""One setting: a field of a dataclass, with its default and all that is to be known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Role = Literal[
    "images", "division", "reading", "views", "question", "players", "game", "optimisation", "precision", "length", "seed",
    "validation", "record", "measuring", "proof", "machine", "tracking", "place",
]  # fmt: skip
"""What a setting decides: which images there are and how large; how they are divided; how they are come by; how they are shown
in training; what is asked; what the two players are; what the lens is after; how both learn, in which numbers and for how
long; what is drawn; what is looked at on the way, and what is written down; what is measured at the end, and what is proved;
where it runs; who is told; where it is kept."""
KINDS = {
    "float": "a number", "int": "a whole number", "bool": "true or false", "str": "text", "NoneType": "null", "None": "null",
}  # fmt: skip
"""What an error line calls a type of Python's."""
FIRST = "0.1.0"
"""The version of the settings that no `since` names."""


def setting(
    default: Any,
    *,
    role: Role | None = None,
    since: str = FIRST,
    resume: bool = False,
    needs: str | None = None,
    path: bool = False,
    before: Any = dataclasses.MISSING,
    grid: str | None = None,
    modes: str | None = None,
    was: str | None = None,
) -> Any:
    """A field with its default and all that is to be known of it: `lens.settings.agreement` derives from here which settings runs share.

    `role` is what it decides. `since` is the version that brought it: runs of earlier ones did what `before` says, else what
    the default says, whatever the task prefers. `resume`: it may differ when a run is resumed. `needs` names what a run must
    have for anybody to read the setting (`idle`); a `path` may begin with ~, and must be one that a file system can hold.
    `grid` is what stands for it in a grid's file, where it has no place itself. `modes` are those of a verb that has several
    in which the setting is read (None: all). `was` is its name in 0.3, which is taken for one version (`old_names`).
    """
    metadata = {
        "role": role,
        "since": since,
        "resume": resume,
        "needs": needs,
        "path": path,
        "grid": grid,
        "modes": modes,
        "was": was,
    }
    metadata |= {} if before is dataclasses.MISSING else {"before": before}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(settings: type[Any]) -> Any:
    """A field that is a group of settings, which are called by their own names: `--lr`, in code `settings.optimisation.lr`."""
    return dataclasses.field(default_factory=settings, metadata={"group": settings})


def groups_of(settings: type[Any]) -> dict[str, type[Any]]:
    """The groups of a dataclass of settings, by name."""
    found = {field.name: field.metadata.get("group") for field in dataclasses.fields(settings)}
    return {name: of for name, of in found.items() if of is not None}


def fields_of(settings: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """The settings of a dataclass by name, those of its groups in their places."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for field in dataclasses.fields(settings):
        inner = field.metadata.get("group")
        new = {field.name: field} if inner is None else fields_of(inner)
        assert not found.keys() & new.keys(), f"two settings of one name: {found.keys() & new.keys()}"
        found |= new
    return found


def in_groups(settings: type[Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their own names as arguments of the dataclass: those of a group as that group."""
    left = dict(flat)
    found = {}
    for name, inner in groups_of(settings).items():
        found[name] = inner(**{key: left.pop(key) for key in fields_of(inner) if key in left})
    return found | left


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default, a new one each time."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def as_list(value: list[str] | str) -> list[str]:
    """A list of words, of which one alone may be written without its list."""
    return [value] if isinstance(value, str) else list(value)
