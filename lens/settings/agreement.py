"""Which settings may differ between runs and which must agree, all of it read from the fields' metadata."""

from __future__ import annotations

import re
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lens.settings.field import FIRST, Role, as_list, default_of
from lens.settings.groups.data import cache_side
from lens.settings.run_settings import FIELDS

EVERY: frozenset[str] = frozenset(typing.get_args(Role))
AGREE: dict[str, frozenset[str]] = {
    "transfer": frozenset({"images", "precision"}),
    "fuse": frozenset({"images"}),
    "control": EVERY
    - {"reading", "length", "seed", "validation", "record", "measuring", "proof", "machine", "tracking", "place"},
    "rival": frozenset({"images", "division", "views", "question", "seed", "validation"}),
}
"""The roles in which settings must agree: of runs whose lenses are asked about each other's views (transfer), whose features
are put together (fuse), of the control of that, which is the same run with another seed (the steps that both took are
compared, however they were given), and of a lens run and a rival that is held to its change (rival)."""


def names(roles: Iterable[str]) -> tuple[str, ...]:
    """The settings of some roles, in their order."""
    wanted = set(roles)
    return tuple(name for name, field in FIELDS.items() if field.metadata["role"] in wanted)


def may_change() -> tuple[str, ...]:
    """The settings that may differ when a run is resumed."""
    return tuple(name for name, field in FIELDS.items() if field.metadata["resume"])


def may_change_in_a_grid() -> tuple[str, ...]:
    """The settings that may differ between two calls of one grid: they say where it runs and who is told, not what is run."""
    return tuple(name for name in may_change() if FIELDS[name].metadata["role"] in ("machine", "tracking"))


def without_a_place_in_a_grid() -> dict[str, str]:
    """The settings that a grid sets itself, each with what stands for it in a grid's file."""
    return {name: field.metadata["grid"] for name, field in FIELDS.items() if field.metadata["grid"]}


def numbers(version: str) -> list[int]:
    """A version as numbers that can be compared: 0.10.0 is later than 0.9.1."""
    return [int(part) for part in re.findall(r"\d+", version)]


def unknown_to(version: str) -> dict[str, Any]:
    """The settings that a version of lens did not have, with what it did: what a run's settings lack that it wrote."""
    later = (
        field for field in FIELDS.values() if numbers(field.metadata["since"]) > max(numbers(FIRST), numbers(version))
    )
    return {field.name: field.metadata.get("before", default_of(field)) for field in later}


def brought_by(version: str) -> tuple[str, ...]:
    """The settings that a version of lens brought."""
    return tuple(name for name, field in FIELDS.items() if field.metadata["since"] == version)


def comparable(name: str, plain: Mapping[str, Any]) -> Any:
    """A setting among a run's plain ones, as it compares: what was meant, however it is written.

    Paths are followed to where they lead, sources are a list in one order, the side of the cache is its number, and a setting
    that the run lacks is what versions without it did.
    """
    field = FIELDS.get(name)
    if field is None:
        return plain.get(name)  # a plug-in's section
    value = plain[name] if name in plain else field.metadata.get("before", default_of(field))
    if name == "cache_image_size":
        return cache_side(value, plain.get("image_size", default_of(FIELDS["image_size"])))
    if isinstance(default_of(field), list) or name == "data":
        value = as_list(value or [])
    if not field.metadata["path"]:
        return value
    followed = [_followed(one) for one in value] if isinstance(value, list) else _followed(value)
    return sorted(followed) if name == "data" else followed


def _followed(value: Any) -> Any:
    return str(Path(value).resolve()) if isinstance(value, str) and "/" in value else value


def first_difference(
    wanted: Iterable[str], mine: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """The first of the settings in which two runs' plain ones differ, with both values, or None."""
    for name in wanted:
        first, second = comparable(name, mine), comparable(name, theirs)
        if first != second:
            return name, first, second
    return None


def table() -> str:
    """Every setting with what it decides, which version brought it, where it may differ and where it must agree: Markdown."""
    head = ["setting", "in 0.3", "decides", "since", "on resume", "grid called again", *AGREE]
    lines = [head, ["---"] * len(head)]
    resumed, again = may_change(), may_change_in_a_grid()
    for name, field in FIELDS.items():
        role = field.metadata["role"]
        words = ["may differ" if name in free else "" for free in (resumed, again)]
        words += ["must agree" if role in roles else "" for roles in AGREE.values()]
        was = field.metadata["was"]
        lines.append([f"`{name}`", f"`{was}`" if was else "", role, field.metadata["since"], *words])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
