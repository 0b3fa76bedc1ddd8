"""The table of a proof of removal, from its saved numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lens.base import intervals
from lens.base.table import show
from lens.protocols.lookup import short_names
from lens.proving.verdict import strictest
from lens.results.figure import Estimate
from lens.results.removal import (
    Answered,
    Bound,
    Cue,
    Frozen,
    Judged,
    OnProbe,
    PlantedCue,
    Removal,
    Rung,
)

Array = np.ndarray[Any, Any]
COLUMNS = ("measure", "raw", "lensed", "note")
COVERS = (
    "Judged are 8-bit pixels alone: nothing is said of contents, names, sizes or headers of files, nor, where there is no bound, "
    "of classifiers that were not asked. Pictures of one patient or film, and copies within one source, count as independent unless "
    "--group_by joins them."
)
"""What a proof does not cover."""
LEFT = ("not removed", "reduced", "not halved")
"""Verdicts beside which stands what is left of what could be read."""


def _share(one: Estimate | float | None) -> str:
    """A share in %, with its interval where it has one."""
    value, interval = (one.value, one.interval) if isinstance(one, Estimate) else (one, None)
    ends = intervals.words(interval, lambda end: f"{100 * end:.1f}")
    return "" if value is None else f"{100 * value:.1f} %{f' ({ends})' * bool(ends)}"


def _bound(bound: Bound) -> tuple[str, str]:
    """What was proved, and of what; or why nothing was."""
    if bound.proved is None:
        return "no bound", bound.none or ""
    proved = f"proved ≤ {math.ceil(1e4 * bound.proved) / 100:.2f} %"  # rounded up: what is said must hold
    if bound.replays is not None:
        return proved, _replays(bound)
    of = bound.of or 0
    apart = ", ".join(f"{round(share * of):,}" for share in bound.differ or [])
    note = f"of {of:,} pairs with and without the cue{_in_groups(bound)} {apart} leave the lens different; at a confidence of 95 %"
    left = f"; {bound.unfinished:,} images are unfinished" if bound.unfinished else ""
    return proved, note + left


def _in_groups(bound: Bound) -> str:
    """In how many groups pairs come, where images of one are not independent."""
    return f" (in {bound.groups:,} groups)" if bound.groups else ""


def _replays(bound: Bound) -> str:
    """What was proved of a lens that draws what it hides."""
    distance, missed = (", ".join(f"{100 * one:.1f} %" for one in part or []) for part in (bound.differ, bound.missed))
    return (
        f"what comes out with and without the cue differs by {distance} in law, over {bound.of:,} pictures{_in_groups(bound)} with "
        f"{bound.replays:,} replays each: {missed} have a part of it left, and of {100 * (bound.found_without or 0):.1f} % "
        "without it something was found; at a confidence of 95 %"
    )


def decibels(value: float | None) -> str:
    """A PSNR in words."""
    return "∞ dB" if value is None else f"{value:.2f} dB"


def asked_beside(found: Removal) -> dict[str, Judged]:
    """What judges were asked beside the source, by what a table calls it."""
    planted, question = (found.cue or Cue()).planted, found.question or Answered()
    every: dict[str, Answered | None] = {}
    for name, cue in planted.items():
        of = "" if len(planted) == 1 else f", {name}"
        every |= {_presence(planted, name): cue.presence, f"which of {cue.classes} cues{of}": cue.theta}
    every[f"the run's own question, {question.asked}"] = question
    return {name: part for name, part in every.items() if part is not None and part.raw is not None}


def presence_bounds(found: Removal) -> dict[str, Bound]:
    """What was proved of each cue's presence, by what a table calls that question."""
    planted = (found.cue or Cue()).planted
    return {_presence(planted, name): cue.bound for name, cue in planted.items() if cue.bound is not None}


def _presence(planted: Mapping[str, PlantedCue], name: str) -> str:
    return "the cue's presence" + ("" if len(planted) == 1 else f", {name}")


def asked(found: Removal) -> dict[str, Judged]:
    """All that judges were asked, the source first, whose name is empty."""
    return ({} if found.raw is None else {"": found}) | asked_beside(found)


def table(found: Removal) -> list[tuple[str, ...]]:
    """The figures in rows: measure, raw, lensed, note."""
    if found.raw is not None:
        rows = _source_rows(found)
    else:
        rows = [("source accuracy", "", "", f"not asked: {(found.source or {}).get('none')}")]
    proved = presence_bounds(found)
    for name, part in asked_beside(found).items():
        rows += _asked_rows(name, part)
        if name in proved:
            rows.append(("  any classifier at all", "", *_bound(proved[name])))
    if found.question and found.question.none and found.raw is None:
        rows.append(("the run's own question", "", "", f"not asked: {found.question.none}"))
    return rows + _cost_rows(found)


def _asked_rows(name: str, part: Judged) -> list[tuple[str, ...]]:
    """What was read of an answer beside the source: the best fresh judge, and each further one."""
    raw, lensed = part.answered
    cells = (_share(one.balanced_accuracy) for one in part.answered)
    note = f"{part.verdict}; balanced, chance {_share(part.chance)}{_left(part)}"
    further = [
        (f"  {judge}", _share(raw.judges.get(key)), _share(lensed.judges[key]), "")
        for key, judge in part.judges.items()
    ]
    return [(name, *cells, note), *further]


def _source_rows(found: Removal) -> list[tuple[str, ...]]:
    """What was read of the source, by whom, and what was proved of it."""
    raw, lensed = found.answered
    below = [
        ends for part in (raw, lensed) if part.excess and isinstance(ends := part.excess.interval, list) and ends[1] < 0
    ]
    backwards = "; below 0 % it has read the source and answers backwards" if below else ""
    rows: list[tuple[str, ...]] = [
        (
            "source accuracy, best fresh classifier",
            *(_share(part.balanced_accuracy) for part in (raw, lensed)),
            f"balanced, chance {_share(found.chance)}",
        ),
        ("its excess over chance", *(_share(part.excess) for part in (raw, lensed)), "0 % is chance, 100 % perfect" + backwards),
    ]  # fmt: skip
    if found.left is not None and found.left.value is not None and found.verdict in LEFT:
        note = f"to {found.left_to}{'; as far as both intervals allow' * isinstance(found.left.interval, list)}"
        rows.append(("left of what could be read", "", _share(found.left), note))
    every, after = raw.by_architecture or {}, lensed.by_architecture or {}
    for spec in every:
        name = spec.partition(":")[0]
        if sum(other.partition(":")[0] == name for other in every) > 1:
            name = spec
        both = (every[spec], after[spec])
        short = [sum(not one for one in part.plateau) for part in both]
        note = f"{short[0]} raw, {short[1]} lensed took all steps" if any(short) else "each seed; all to a plateau"
        cells = [" ".join(f"{100 * one:.1f}" for one in part.balanced_accuracy) for part in both]
        rows.append((f"  {name}", cells[0], cells[1], note))
    for key, name in found.judges.items():
        note = "not fresh: it knows where to look" if key == "trained_on" else ""
        rows.append((f"  {name}", _share(raw.judges.get(key)), _share(lensed.judges[key]), note))
    if found.bound:
        rows.append(("any classifier at all", "", *_bound(found.bound)))
    rows += _rung_rows(found.rungs)
    sources, images, groups = short_names(found.sources or []), found.images or {}, found.groups or {}
    for k, name in enumerate(sources if len(sources) <= 6 else []):
        count, of = images["test"][k], groups["test"][k]
        psnr = (found.psnr_by_source or [])[k]
        note = f"{count:,} test images{f' in {of:,} groups' * (of < count)}, PSNR {decibels(psnr)}"
        rows.append((f"  {name} recognised", *(_share((part.by_source or [])[k]) for part in (raw, lensed)), note))
    return rows


def _rung_rows(rungs: Mapping[str, Rung]) -> list[tuple[str, ...]]:
    """The strongest of the audit's cues before and after the lens, and each that has risen."""
    if not rungs:
        return []
    cells = []
    for kind in ("raw", "lensed"):
        name, most = max(
            ((name, getattr(one, kind)) for name, one in rungs.items()), key=lambda pair: pair[1].value or 0
        )
        cells.append(f"{_share(most)}, {name.replace('_', ' ')}")
    risen = [name for name, one in rungs.items() if one.risen]
    note = f"{len(risen)} of {len(rungs)} have risen" if risen else f"none of {len(rungs)} has risen"
    rows: list[tuple[str, ...]] = [("the most telling view, by trees", *cells, note)]
    return rows + [
        (f"  {name.replace('_', ' ')}", _share(rungs[name].raw), _share(rungs[name].lensed), "risen") for name in risen
    ]


def _cost_rows(found: Removal) -> list[tuple[str, ...]]:
    """What the lens changed, and what it cost."""
    rows: list[tuple[str, ...]] = []
    if (labels := found.downstream) and labels.cost and labels.cost.value is not None:
        ends = intervals.words(labels.cost.interval, lambda end: f"{100 * end:.1f}")
        cost = f"cost {100 * labels.cost.value:.1f} points ({ends})"
        rows.append(("class labels, fresh classifiers", _share(labels.raw), _share(labels.lensed), cost))
    linear: dict[str, Frozen | OnProbe | None] = {"class labels, frozen features": found.frozen, **found.probes}
    for name, part in linear.items():
        if part:
            note = f"linear; untrained {_share(part.untrained and part.untrained.value)}"
            note += f", PSNR {decibels(part.psnr)}" if isinstance(part, OnProbe) else ""
            rows.append((name, _share(part.raw), _share(part.lensed), note))
    planted = f"planted images {decibels(found.psnr_planted)}" if found.psnr_planted is not None else ""
    rows.append(("PSNR, all images", "", decibels(found.psnr.value if found.psnr else None), planted))
    line = found.best_possible
    if line and line.sides:
        note = f"a lens after which {line.sides} are alike has {decibels(line.psnr)} at most (values that clip are not counted)"
        rows.append((f"PSNR, mean of {line.sides}", "", decibels(line.found), note))
    elif line and found.cue and found.cue.planted:
        rows.append(("PSNR, best possible", "", "", line.none or ""))
    rows.append(("SSIM", "", "" if found.ssim is None else f"{found.ssim:.3f}", ""))
    return rows


def print_table(found: Removal, where: Path | None = None) -> None:
    """Print the figures as a table, the verdict as its title; `where` is the file that holds them."""
    notes = []
    parts = asked(found).values()
    if wide := [(name, part.close) for name, part in asked(found).items() if part.wide]:
        beyond = ", ".join(f"{_share(close)}{f' ({name})' * bool(name)}" for name, close in wide)
        notes.append((
            f"An interval holds chance and goes on beyond {beyond}, or as far below: with so few test images, "
            "or groups of them, chance cannot be told from a little more or less; give more.", "bold",
        ))  # fmt: skip
    if found.bound or found.cue:
        notes.append((COVERS, "dim"))
    if not all(part.readable for part in parts):
        notes.append((
            "Where on raw images no judge reads 95 % there is less to remove than a clear cue, and better ones may read more.",
            "dim",
        ))  # fmt: skip
    rows = table(found)
    notes += [(line, "bold") for line in intervals.note(rows)]
    show(headline(found), COLUMNS, rows, left=("measure", "note"), where=where, notes=notes)


def headline(found: Removal, shown: Callable[[str], str] = str) -> str:
    """The verdict in one line, with what is left; `shown` makes of a source's name what a picture can show."""
    if found.raw is not None:
        who, read = _both(found)
        return f"{found.verdict}: {who} tell {_sources(found, shown)} apart at {read}{_left(found)}"
    told = [f"{shown(name)}: {part.verdict}, {_both(part)[1]}" for name, part in asked_beside(found).items()]
    return "; ".join(told) or "nothing could be asked"


def _both(part: Judged) -> tuple[str, str]:
    """Who reads most of raw images of those that begin with nothing, and what they read on raw and on lensed ones."""
    raw, lensed = part.answered
    key = strictest(raw.balanced_accuracy, {key: raw.judges[key] for key in part.judges if key in raw.judges})
    who = part.judges[key] if key else "fresh classifiers"
    both = (raw.judges[key], lensed.judges[key]) if key else (raw.balanced_accuracy, lensed.balanced_accuracy)
    before, after = (_share(one.value) for one in both)
    return who, f"{before} raw, {after} lensed"


def _left(part: Judged) -> str:
    """What is left of what could be read, where that stands beside the verdict."""
    if part.left is None or part.left.value is None or part.verdict not in LEFT:
        return ""
    parts = f"{100 * part.left.value:.0f} of 100 parts of what could be read are"
    return f"; {parts if part.left.value < 0.995 else 'all that could be read is'} left to {part.left_to}"


def _sources(found: Removal, shown: Callable[[str], str]) -> str:
    """Two sources by the last part of their names, more of them as such."""
    short = [shown(name) for name in short_names(found.sources or [])]
    return " and ".join(short) if len(short) == 2 else "the sources"
