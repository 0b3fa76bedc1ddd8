"""A grid of runs: from axes, seeds and rules to the settings of every run, all checked before the first."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lens.base import yaml_text
from lens.base.errors import LONGEST_NAME, BadInput
from lens.grids import matching
from lens.grids.matching import Cell
from lens.protocols.lookup import find, is_file_key, key_name, settings_of
from lens.settings import agreement, idle, old_names, words
from lens.settings.parsing import Parsed, parse
from lens.settings.run_settings import FIELDS, PLUGINS, Settings

MACHINE = agreement.may_change_in_a_grid()
TYPES = {name: str(field.type) for name, field in FIELDS.items()}
LISTS = [name for name, kind in TYPES.items() if kind.startswith("list")]
OPENED = words.open_fields(Settings)
MEASURES = ("downstream", "clean")
"""What a grid that names no measures compares."""


@dataclasses.dataclass(frozen=True)
class GridRun:
    """One run: its cell, its seed, and the words that `lens.train` is told beside --seed and --out."""

    cell: Cell
    seed: int
    words: list[str]
    matched: Cell | None = None
    """The cell whose lens, of the same seed, a rival is held to."""

    @property
    def waits_for(self) -> str | None:
        """The slug of the run that must have ended before this one starts."""
        return None if self.matched is None else GridRun(self.matched, self.seed, []).slug

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
        again = [word for word in self.words if words.key_of(word) in MACHINE]
        code = [word for word in self.words if words.key_of(word) in PLUGINS and is_file_key(word.split("=", 1)[1])]
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

    def cells(self, excluded: bool = False) -> list[Cell]:
        """Every combination of the axes' values, without what is excluded unless asked for; the last axis moves fastest."""
        every = (dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values()))
        return [cell for cell in every if excluded or not any(_matches(when, cell) for when in self.exclude)]

    def arm(self, cell: Cell) -> str:
        """The name of a cell among those of its group: its values of the baseline's axes."""
        return " / ".join(cell[axis] for axis in self.baseline)

    def group(self, cell: Cell) -> tuple[str, ...]:
        """The values of the other axes, which an arm shares with its baseline."""
        return tuple(cell[axis] for axis in self.group_axes)

    def runs(self, trusted: Iterable[str] = ()) -> list[GridRun]:
        """Every run, seed by seed, each cell's settings checked before the first of them starts.

        A setting of all runs goes to those that it concerns: one without a lens is not told the lens's rate. Raises
        BadInput, naming the cell, for a setting that is unknown or out of range, one of an axis or a rule that nobody would
        read there, a setting of a plug-in that no cell selects, for two cells with the same settings, and for a plug-in
        file that is not among the `trusted` ones: a grid runs nobody's code.
        """
        cells = self.cells()
        if not cells:
            raise BadInput("exclude: leaves no cell of the grid to run")
        settled = [(cell, self._settings(cell)) for cell in cells]
        whole = [self._settings(cell) for cell in self.cells(excluded=True)]
        _refuse_untrusted(whole, set(trusted))  # of what is excluded too: its plug-ins are looked at
        matched = [self._matched(cell, found) for cell, found in settled]
        selected = {key_name(str(found.get(kind, ""))) for _, found in settled for kind in PLUGINS}
        of_plugins = set().union(*map(own_settings, whole))
        same: dict[str, Cell] = {}
        every: list[tuple[Cell, list[str], Parsed]] = []
        for cell, found in settled:
            # A setting may be for a plug-in that only other cells select.
            others = of_plugins - own_settings(found)
            found = {k: v for k, v in found.items() if k not in others and not (k in selected and isinstance(v, dict))}
            told = words.of_mapping(found, LISTS, OPENED)
            try:
                parsed = parse(told, "lens.train", refuse_idle=False)
                idle.refuse(parsed.settings, sorted(parsed.given & self._specific(cell)))
            except BadInput as error:
                raise BadInput(f"the cell {_shown(cell)}: {error}") from error
            plain, unread = parsed.plain, idle.idle(parsed.settings, parsed.given)
            told = [word for word in told if words.key_of(word) not in unread]
            twin = same.setdefault(json.dumps({k: plain[k] for k in plain if k not in MACHINE}, sort_keys=True), cell)
            if twin is not cell:
                raise BadInput(
                    f"the cells {_shown(twin)} and {_shown(cell)} have the same settings: change a rule or an axis, or "
                    "leave one out with exclude:"
                )
            if plain["wandb"] != "disabled" and not plain["wandb_group"]:
                told.append(f"--wandb_group={self.name}")
            every.append((cell, told, parsed))
        matched = _read_matches(every, matched)
        found_runs = [
            GridRun(cell, seed, told, match)
            for seed in self.seeds
            for (cell, told, _), match in zip(every, matched, strict=True)
        ]
        slugs: dict[str, GridRun] = {}
        for run in found_runs:
            if run.slug in slugs:
                raise BadInput(
                    f"{run.title} and {slugs[run.slug].title} would share the directory {run.slug}: rename a value"
                )
            _refuse_long(run)
            slugs[run.slug] = run
        return found_runs

    def refuse_no_baseline(self) -> None:
        """Raise BadInput where no run of the baseline is left: there would be nothing that an arm is compared with."""
        if not any(cell | self.baseline == cell for cell in self.cells()):
            raise BadInput(
                f"baseline: {', '.join(f'{axis} {value!r}' for axis, value in self.baseline.items())} is excluded: nothing would "
                "be compared; name another baseline, or take it out of exclude:"
            )

    def refuse_needless(self, trusted: Iterable[str]) -> None:
        """Raise BadInput for a file of code that is trusted and that no cell selects, those that are excluded included."""
        used = {key for _, key in _files_of_code(map(self._settings, self.cells(excluded=True)))}
        for file in trusted:
            if file not in used:
                why = "no run of the grid uses that file" if os.path.isfile(file) else "there is no such file"
                raise BadInput(f"--trust {file}: {why}: leave it out")

    def _matched(self, cell: Cell, settings: dict[str, Any]) -> Cell | None:
        """The cell that this one's `match_mse` names."""
        try:
            return matching.cell_of(settings, cell, self.axes)
        except BadInput as error:
            raise BadInput(f"the cell {_shown(cell)}: {error}") from error

    def _specific(self, cell: Cell) -> set[str]:
        """The settings that a cell has of its own: of its axes' values, and of rules that are not for all."""
        parts = [self.axes[axis][value] for axis, value in cell.items()]
        parts += [change for when, change in self.rules if when and _matches(when, cell)]
        return {key for part in parts for key in part}

    def _settings(self, cell: Cell) -> dict[str, Any]:
        parts = [self.settings, *(self.axes[axis][value] for axis, value in cell.items())]
        parts += [change for when, change in self.rules if _matches(when, cell)]
        merged: dict[str, Any] = {}
        for part in parts:
            merged = merge(merged, part)
        return old_names.in_settings(merged, where=self.name)

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
        return yaml_text.dump(plain)


def _read_matches(every: list[tuple[Cell, list[str], Parsed]], matched: list[Cell | None]) -> list[Cell | None]:
    """The cells that rivals are held to; nothing for a cell that does not read `match_mse`. Raises BadInput for unlike ones."""
    parsed_of = {tuple(cell.values()): parsed for cell, _, parsed in every}
    read: list[Cell | None] = []
    for (cell, told, parsed), match in zip(every, matched, strict=True):
        read.append(match if "match_mse" in map(words.key_of, told) else None)
        if read[-1] is None:
            continue
        try:
            matching.refuse_unlike(parsed, _shown(read[-1]), parsed_of.get(tuple(read[-1].values())))
        except BadInput as error:
            raise BadInput(f"the cell {_shown(cell)}: {error}") from error
    return read


def _matches(when: Mapping[str, list[str]], cell: Cell) -> bool:
    return all(cell[axis] in values for axis, values in when.items())


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Settings over settings; a setting that is a mapping is replaced, what else is one is merged."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in FIELDS
        merged[key] = merged[key] | value if both else value
    return merged


def own_settings(settings: Mapping[str, Any]) -> set[str]:
    """The settings of the plug-ins that are selected, as they are called: `task.permutations`. None of one that is not there."""
    found = set()
    for kind, default in PLUGINS.items():
        with contextlib.suppress(BadInput):
            plugin = find(kind, str(settings.get(kind, default)))
            found |= {f"{kind}.{name}" for name in settings_of(plugin)}
    return found


def _files_of_code(cells: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The plug-ins of cells that are files, each with its kind."""
    every = ((kind, str(found.get(kind, ""))) for found in cells for kind in PLUGINS)
    return ((kind, key) for kind, key in every if is_file_key(key))


def _refuse_untrusted(cells: Iterable[dict[str, Any]], trusted: set[str]) -> None:
    for kind, key in _files_of_code(cells):
        if key not in trusted:
            raise BadInput(f"the grid uses the {kind} file {key}: if you trust that file, say so with --trust {key}")


def _refuse_long(run: GridRun) -> None:
    """Raise BadInput where no file can be called after a run: its log has the longest name."""
    if (length := len(f"{run.slug}.log".encode())) > LONGEST_NAME:
        axis, value = max(run.cell.items(), key=lambda pair: len(_slug({pair[0]: pair[1]}).encode()))
        raise BadInput(
            f"axes: the log of a run would be called {run.slug[:40]}…, {length:,} bytes, and a name may have {LONGEST_NAME}: "
            f"rename the value {value[:40]!r}… of the axis {axis} (NAME: {{SETTING: …}})"
        )


def _shown(cell: Cell) -> str:
    return repr(" / ".join(cell.values()))


def _slug(cell: Cell) -> str:
    return "-".join(re.sub(r"[^\w.]+", "_", value).strip("_.") or "value" for value in cell.values())
