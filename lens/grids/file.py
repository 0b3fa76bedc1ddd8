"""The file of a grid: YAML, and words of a command line, to a grid; every unknown word is refused with the nearest one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lens.base import yaml_text
from lens.base.errors import BadInput, nearest
from lens.base.files import system_fault
from lens.grids.grid import MEASURES, TYPES, Grid, merge
from lens.protocols.lookup import names
from lens.settings import agreement, old_names, words
from lens.settings.run_settings import FIELDS, PLUGINS

KEYS = ("name", "settings", "axes", "seeds", "rules", "exclude", "baseline", "measures")
MOST_CELLS = 10_000
"""Combinations of the axes' values, at most, those that are excluded included."""
OWN = agreement.without_a_place_in_a_grid() | {"config": "settings: holds them"}


def read(file: Path, overrides: Sequence[tuple[str, Any]] = ()) -> Grid:
    """A grid file, with settings that come after every other of each run (`--data ./cifar10/`).

    Raises BadInput, in one line with the nearest known word, for an unknown key, axis, value or setting.
    """
    try:
        plain = yaml_text.read(file)
    except OSError as error:
        raise system_fault(error, file) or BadInput(f"cannot read the grid {file} ({error.strerror}): give a YAML file, such as those of configs/ablations") from error  # fmt: skip
    except ValueError as error:
        raise BadInput(f"{file} is no YAML of a grid: {error}") from error
    words.refuse_classes(str(file), plain)
    with naming(file):
        return _resolve(_mapping("the file", plain), file.stem, dict(overrides))


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Begin the line of a mistake with the grid file that it stands in."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def _resolve(plain: dict[str, Any], stem: str, overrides: dict[str, Any]) -> Grid:
    for key in plain:
        if key not in KEYS:
            raise BadInput(f"unknown key {key!r}: {nearest(str(key), KEYS)}")
    for key in ("axes", "seeds", "baseline"):
        if plain.get(key) in (None, [], {}):
            raise BadInput(f"{key}: is missing or empty; a grid needs axes, seeds and a baseline")
    axes = {
        str(axis): _axis(str(axis), values if isinstance(values, (list, dict)) else [values])
        for axis, values in _mapping("axes", plain["axes"]).items()
    }
    for axis in axes:
        if axis in ("seed", "status", "directory"):
            raise BadInput(
                f"axes: {axis} is a column of every table" + (", seeds: lists them" if axis == "seed" else "")
            )
    if (cells := math.prod(len(values) for values in axes.values())) > MOST_CELLS:
        raise BadInput(f"axes: they have {cells:,} combinations, and a grid may have {MOST_CELLS:,}: give fewer values")
    seeds: list[int] = plain["seeds"] if isinstance(plain["seeds"], list) else [plain["seeds"]]
    for seed in seeds:
        if type(seed) is not int or not 0 <= seed < 2**32 or seeds.count(seed) > 1:
            raise BadInput(f"seeds: {seed!r} is not allowed: give different whole numbers, 0 or more")
    rules = []
    for rule in _list("rules", plain.get("rules")):
        rule = _mapping("rules", rule)
        for key in rule:
            if key not in ("when", "set"):
                raise BadInput(f"rules: unknown key {key!r}: {nearest(str(key), ('when', 'set'))}")
        when = _when("rules", rule.get("when") or {}, axes)
        rules.append((when, _allowed("rules", _mapping("rules: set", rule.get("set") or {}))))
    if overrides:
        rules.append(({}, _allowed("the command line", overrides)))
    exclude = [_when("exclude", when, axes) for when in _list("exclude", plain.get("exclude"))]
    if {} in exclude:
        raise BadInput("exclude: an empty entry leaves out every cell")
    baseline = {axis: values[0] for axis, values in _when("baseline", plain["baseline"], axes, single=True).items()}
    measures = [str(measure) for measure in _list("measures", plain.get("measures")) or MEASURES]
    measures = [measure.replace("source_adversary", "source_trained_on") for measure in measures]  # as up to 0.3
    settings = _allowed("settings", _mapping("settings", plain.get("settings") or {}))
    return Grid(_folder_name(plain.get("name") or stem), settings, axes, seeds, rules, exclude, baseline, measures)


def _folder_name(name: Any) -> str:
    """The grid's name, which its folder in runs/ is called by: it must not lead anywhere else."""
    text = str(name)
    if not re.fullmatch(r"[^/\\\0.][^/\\\0]{0,99}", text) or text != words.checked("name", text, is_path=False):
        raise BadInput(f"name: {text[:120]!r} is no name of a folder: give up to 100 letters, no / and no . first")
    return text


def overrides(told: Iterable[str]) -> list[tuple[str, Any]]:
    """Words of a command line as settings: `--lr=0.1`, or `--lr 0.1` → ("lr", 0.1).

    The words are those of `arguments.normalise_arguments`. Raises BadInput for a word that belongs to no flag.
    """
    found: list[tuple[str, Any]] = []
    pending: str | None = None
    for word in told:
        if pending is not None:
            found.append((pending, _value(pending, word)))
            pending = None
        elif not word.startswith("--"):
            raise BadInput(f"{word!r} belongs to no flag: give --SETTING VALUE, or one grid file first")
        elif "=" in word:
            key, _, value = word[2:].partition("=")
            found.append((key, _value(key, value)))
        else:
            pending = word[2:]
    if pending is not None:
        raise BadInput(f"--{pending} needs a value")
    return found


def _value(key: str, text: str) -> Any:
    """What a word of a command line means: a setting that is a word stays as it is written."""
    if TYPES.get(key, "").removesuffix(" | None") == "str" and text not in ("null", "~"):
        return text
    try:
        return words.plain_value(text)
    except ValueError:
        return text


def _axis(axis: str, values: list[Any] | dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """An axis' values, each with its settings."""
    if not values:
        raise BadInput(f"axes: {axis} has no values")
    if isinstance(values, dict):
        return {
            _name(name): _allowed(f"axes: {axis}: {name}", _mapping(f"axes: {axis}: {name}", change or {}))
            for name, change in values.items()
        }
    if axis not in FIELDS and axis.split(".")[0] not in (*PLUGINS, *_old_sections()) and not old_names.is_old(axis):
        raise BadInput(f"axes: {axis!r} is a list of values and so must be a setting: {nearest(axis, FIELDS)}")
    if len({_name(value) for value in values}) < len(values):
        raise BadInput(f"axes: {axis} has a value twice")
    return {_name(value): _allowed(f"axes: {axis}", {axis: value}) for value in values}


def _allowed(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with dotted keys spread out; what a grid sets itself, and what nobody knows, is refused."""
    found: dict[str, Any] = {}
    settings = old_names.in_settings({str(key): value for key, value in settings.items()}, where=where)
    for key, value in settings.items():
        words.refuse_key(key)
        if key in OWN:
            raise BadInput(f"{where}: {key} has no place in a grid: {OWN[key]}")
        first, dot, rest = key.partition(".")
        # What 0.3 had as sections of plug-ins (`jigsaw: {permutations: 100}`) belongs to the cells that select them.
        if first not in FIELDS and first not in _old_sections() and not isinstance(value, dict) and not dot:
            raise BadInput(f"{where}: unknown setting {key!r}: {nearest(key, FIELDS)}")
        if key in ("data", "probe") and isinstance(value, list) and len(value) == 1:
            value = value[0]
        found = merge(found, {first: {rest: value}} if dot and first not in PLUGINS else {key: value})
    return found


def _old_sections() -> dict[str, str]:
    """The names of tasks and shortcuts, by which 0.3 called their settings, each with its kind."""
    return {name: kind for kind in ("task", "shortcut") for name in names(kind)}


def _when(where: str, when: Any, axes: Mapping[str, Any], single: bool = False) -> dict[str, list[str]]:
    """Which values of which axes: each a word or a list of words."""
    found: dict[str, list[str]] = {}
    for axis, values in _mapping(where, when).items():
        if axis not in axes:
            raise BadInput(f"{where}: unknown axis {axis!r}: {nearest(str(axis), axes)}")
        found[axis] = [_name(value) for value in (values if isinstance(values, list) else [values])]
        for value in found[axis]:
            if value not in axes[axis]:
                raise BadInput(f"{where}: unknown value {value!r} of the axis {axis}: {nearest(value, axes[axis])}")
        if single and len(found[axis]) != 1:
            raise BadInput(f"{where}: {axis} has {len(found[axis])} values: give one")
    return found


def _name(value: Any) -> str:
    """What a value is called: as it is written in YAML, a list joined."""
    if isinstance(value, list):
        return "+".join(_name(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: must be a mapping (key: value), not {value!r}")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise BadInput(f"{where}: must be a list, not {value!r}")
    return value or []
