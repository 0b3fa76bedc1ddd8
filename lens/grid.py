"""A grid of runs: from a YAML file of axes, seeds and rules to the settings of every run, all checked before the first."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lens.parsing import parse
from lens.protocols import BadInput, is_file_key, key_name, names, nearest
from lens.settings import Settings

KEYS = ("name", "settings", "axes", "seeds", "rules", "exclude", "baseline", "measures")
MACHINE = ("device", "workers", "wandb", "wandb_group", "wandb_tags", "wandb_project")
"""Settings that may differ between two calls of one grid: they say where it runs, not what."""
OWN = {
    "seed": "seeds: lists them",
    "out": "each run has its own directory in the grid's --out",
    "resume": "unfinished runs are resumed without being asked",
    "config": "settings: holds them",
}
"""Settings of a run that a grid sets itself, and what stands for them in its file."""
FIELDS = {field.name: str(field.type) for field in dataclasses.fields(Settings)}
Cell = dict[str, str]
"""The name of a value for each axis."""


@dataclasses.dataclass(frozen=True)
class GridRun:
    """One run: its cell, its seed, and the words that `lens.train` is told beside --seed and --out."""

    cell: Cell
    seed: int
    words: list[str]

    @property
    def slug(self) -> str:
        """A readable name, of its directory too."""
        return f"{_slug(self.cell)}-seed{self.seed}"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{' / '.join(self.cell.values())}, seed {self.seed}"

    def machine_words(self) -> list[str]:
        """The words that a resumed run is told again: where it runs, and files of code, which must be named by hand."""
        again = [word for word in self.words if _key(word) in MACHINE]
        code = [
            word for word in self.words if _key(word) in ("task", "shortcut") and is_file_key(word.split("=", 1)[1])
        ]
        return again + code

    def identity(self) -> dict[str, str]:
        """What makes it this run and no other: its settings, those of the machine aside, as they are written."""
        pairs = (word[2:].split("=", 1) for word in self.words)
        return {key: value for key, value in pairs if key not in MACHINE}


@dataclasses.dataclass(frozen=True)
class Grid:
    """A resolved grid file; `axes` maps each axis to its values' names and settings, in order."""

    name: str
    settings: dict[str, Any]
    axes: dict[str, dict[str, dict[str, Any]]]
    seeds: list[int]
    rules: list[tuple[dict[str, list[str]], dict[str, Any]]]
    exclude: list[dict[str, list[str]]]
    baseline: Cell
    measures: list[str]

    @property
    def group_axes(self) -> list[str]:
        """The axes within whose cells arms are compared: all but the baseline's."""
        return [axis for axis in self.axes if axis not in self.baseline]

    def cells(self) -> list[Cell]:
        """Every combination of the axes' values that is not excluded, the last axis moving fastest."""
        every = (dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values()))
        return [cell for cell in every if not any(_matches(when, cell) for when in self.exclude)]

    def arm(self, cell: Cell) -> str:
        """The name of a cell among those of its group: its values of the baseline's axes."""
        return " / ".join(cell[axis] for axis in self.baseline)

    def group(self, cell: Cell) -> tuple[str, ...]:
        """The values of the other axes, which an arm shares with its baseline."""
        return tuple(cell[axis] for axis in self.group_axes)

    def runs(self) -> list[GridRun]:
        """Every run, seed by seed, each cell's settings checked before the first of them starts.

        Raises BadInput, naming the cell, for a setting that is unknown or out of range, a section of a plug-in that no
        cell selects, and for two cells with the same settings.
        """
        cells = self.cells()
        if not cells:
            raise BadInput("exclude: leaves no cell of the grid to run")
        settled = [(cell, self._settings(cell)) for cell in cells]
        selected = {key_name(str(found.get(kind, ""))) for _, found in settled for kind in ("task", "shortcut")}
        same: dict[str, Cell] = {}
        words = []
        for cell, found in settled:
            own = [key_name(str(found.get("task", "rotation"))), key_name(str(found.get("shortcut", "none")))]
            # A section may serve a plug-in that only other cells select.
            found = {k: v for k, v in found.items() if k not in selected or k in own or not isinstance(v, dict)}
            told = [word for key, value in found.items() for word in _words(key, value)]
            try:
                plain = parse(told, "lens.train").plain
            except BadInput as error:
                raise BadInput(f"the cell {_shown(cell)}: {error}") from error
            twin = same.setdefault(json.dumps({k: plain[k] for k in plain if k not in MACHINE}, sort_keys=True), cell)
            if twin is not cell:
                raise BadInput(
                    f"the cells {_shown(twin)} and {_shown(cell)} have the same settings: change a rule or an axis, or "
                    "leave one out with exclude:"
                )
            if plain["wandb"] != "disabled" and not plain["wandb_group"]:
                told.append(f"--wandb_group={self.name}")
            words.append((cell, told))
        found_runs = [GridRun(cell, seed, told) for seed in self.seeds for cell, told in words]
        slugs: dict[str, GridRun] = {}
        for run in found_runs:
            if run.slug in slugs:
                raise BadInput(
                    f"{run.title} and {slugs[run.slug].title} would share the directory {run.slug}: rename a value"
                )
            slugs[run.slug] = run
        return found_runs

    def _settings(self, cell: Cell) -> dict[str, Any]:
        parts = [self.settings, *(self.axes[axis][value] for axis, value in cell.items())]
        parts += [change for when, change in self.rules if _matches(when, cell)]
        merged: dict[str, Any] = {}
        for part in parts:
            merged = _merge(merged, part)
        return merged

    def content(self) -> str:
        """The resolved grid as YAML, itself a grid file."""
        plain: dict[str, Any] = {
            "name": self.name,
            "settings": self.settings,
            "axes": self.axes,
            "seeds": self.seeds,
            "rules": [{"when": when, "set": change} for when, change in self.rules],
            "exclude": self.exclude,
            "baseline": self.baseline,
            "measures": self.measures,
        }
        unshared = json.loads(json.dumps(plain))  # without YAML's anchors: a person reads it
        return str(yaml.safe_dump(unshared, sort_keys=False, allow_unicode=True, width=120))


def read(file: Path, overrides: Sequence[tuple[str, Any]] = ()) -> Grid:
    """A grid file, with settings that come after every other of each run (`--data ./cifar10/`).

    Raises BadInput, in one line with the nearest known word, for an unknown key, axis, value or setting.
    """
    try:
        plain = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the grid {file} ({error.strerror}): give a YAML file, such as those of configs/ablations") from error  # fmt: skip
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is no YAML: {error}") from error
    try:
        return _resolve(_mapping("the file", plain), file.stem, dict(overrides))
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
    measures = [str(measure) for measure in _list("measures", plain.get("measures")) or ("downstream", "clean")]
    settings = _allowed("settings", _mapping("settings", plain.get("settings") or {}))
    return Grid(str(plain.get("name") or stem), settings, axes, seeds, rules, exclude, baseline, measures)


def overrides(words: Iterable[str]) -> list[tuple[str, Any]]:
    """Words of a command line as settings: `--lr=0.1`, or `--lr 0.1` → ("lr", 0.1).

    The words are those of `parsing.normalise_arguments`. Raises BadInput for a word that belongs to no flag.
    """
    found: list[tuple[str, Any]] = []
    pending: str | None = None
    for word in words:
        if pending is not None:
            found.append((pending, yaml.safe_load(word)))
            pending = None
        elif not word.startswith("--"):
            raise BadInput(f"{word!r} belongs to no flag: give --SETTING VALUE, or one grid file first")
        elif "=" in word:
            key, _, value = word[2:].partition("=")
            found.append((key, yaml.safe_load(value)))
        else:
            pending = word[2:]
    if pending is not None:
        raise BadInput(f"--{pending} needs a value")
    return found


def _axis(axis: str, values: list[Any] | dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """An axis' values, each with its settings."""
    if not values:
        raise BadInput(f"axes: {axis} has no values")
    if isinstance(values, dict):
        return {
            _name(name): _allowed(f"axes: {axis}: {name}", _mapping(f"axes: {axis}: {name}", change or {}))
            for name, change in values.items()
        }
    plugins = names("task") + names("shortcut")
    if axis not in FIELDS and axis.split(".")[0] not in plugins:
        raise BadInput(f"axes: {axis!r} is a list of values and so must be a setting: {nearest(axis, FIELDS)}")
    if len({_name(value) for value in values}) < len(values):
        raise BadInput(f"axes: {axis} has a value twice")
    return {_name(value): _allowed(f"axes: {axis}", {axis: value}) for value in values}


def _allowed(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with dotted keys spread out; what a grid sets itself, and what nobody knows, is refused."""
    found: dict[str, Any] = {}
    plugins = names("task") + names("shortcut")
    for key, value in settings.items():
        key = str(key)
        if key in OWN:
            raise BadInput(f"{where}: {key} has no place in a grid: {OWN[key]}")
        first, dot, rest = key.partition(".")
        # The section of a plug-in from a file is known only to the cells that select it.
        if first not in FIELDS and first not in plugins and not isinstance(value, dict) and not dot:
            raise BadInput(f"{where}: unknown setting {key!r}: {nearest(key, FIELDS)}")
        if key in ("data", "probe") and isinstance(value, list) and len(value) == 1:
            value = value[0]
        found = _merge(found, {first: {rest: value}} if dot else {key: value})
    return found


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


def _matches(when: Mapping[str, list[str]], cell: Cell) -> bool:
    return all(cell[axis] in values for axis, values in when.items())


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Settings over settings; sections of plug-ins are merged, a setting that is a mapping is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in FIELDS
        merged[key] = merged[key] | value if both else value
    return merged


def _words(key: str, value: Any) -> list[str]:
    """One setting as `lens.train` reads it; a section of a plug-in becomes one word a setting."""
    if isinstance(value, dict) and key not in FIELDS:
        return [word for name, inner in value.items() for word in _words(f"{key}.{name}", inner)]
    if isinstance(value, str):
        return [f"--{key}={value}"]
    return [f"--{key}={json.dumps(value)}"]


def _name(value: Any) -> str:
    """What a value is called: as it is written in YAML, a list joined."""
    if isinstance(value, list):
        return "+".join(_name(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def _key(word: str) -> str:
    return word[2:].split("=", 1)[0]


def _shown(cell: Cell) -> str:
    return repr(" / ".join(cell.values()))


def _slug(cell: Cell) -> str:
    return "-".join(re.sub(r"[^\w.]+", "_", value).strip("_.") or "value" for value in cell.values())


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: must be a mapping (key: value), not {value!r}")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise BadInput(f"{where}: must be a list, not {value!r}")
    return value or []
