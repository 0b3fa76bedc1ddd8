"""An audit from its folders to its results: read once, ask every cue, conclude."""

from __future__ import annotations

import dataclasses
import resource
import time
from typing import Any

import numpy as np

from lens.auditing import across, features, ladder, networks, shared, where
from lens.auditing.answers import Answers
from lens.auditing.asked import AuditSettings
from lens.auditing.keeping import Finished
from lens.auditing.permutation import permutation_p
from lens.auditing.seen import Seen, seen
from lens.auditing.verdict import verdict
from lens.auditing.within import within
from lens.base.draws import step_seed
from lens.base.terminal import say, say_lines
from lens.base.threads import set_threads
from lens.results.audit import Audit, Row, Where

Array = np.ndarray[Any, Any]
NETWORK = "whole_image"
"""The cue that the quick budget shows to a network, and whose network is asked where it looks."""
SHOWN = 4
"""The most extreme images of each source that a row keeps."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The results, and the arrays that pictures are drawn from."""

    audit: Audit
    arrays: dict[str, Array]


def audited(asked: AuditSettings, finished: Finished) -> Found:
    """Audit the sources; rows that are `finished` already are not asked again.

    Raises BadInput for sources that cannot be audited, and where --labels finds no shared classes.
    """
    set_threads(asked.threads)
    nets = networks.networks(asked.budget, asked.device, asked.threads)
    seconds: dict[str, float] = {}
    begin = time.monotonic()
    data = seen(asked, {} if asked.features is None else {features.NAME: features.cue_of(asked.features, nets.device)})
    common = shared.shared_classes(data) if asked.labels else None
    seconds["reading"] = time.monotonic() - begin
    say_lines(data.images.describe())
    for line in data.leaks:
        say(line)
    finished.begin(data)
    begin = time.monotonic()
    answers = ladder.by_trees(data, asked.seed, finished)
    seconds["trees"] = time.monotonic() - begin
    map_, begin = None, time.monotonic()
    names = [NETWORK] if asked.budget == "quick" else [name for name in data.cues if networks.has_view(data, name)]
    if asked.budget == "full":
        left = [name for name in names if not finished.has(f"{name} (network)")]
        networks.announce(nets, data, len(names), len(left))
    for name in names:
        found, own = _network(data, nets, name, asked.seed, finished)
        answers.append(found)
        map_ = own or map_
    seconds["networks"] = time.monotonic() - begin
    rows = ladder.rows_of(data, answers, asked.seed)
    notes = list(data.leaks) + list(data.images.reading())
    crossed, mixed = None, shared.differing_classes(data, asked.seed)
    if common is not None:
        begin = time.monotonic()
        rows = within(data, common, rows, asked.seed, ladder.LEVEL)
        crossed = across.crossed(data, common, asked.seed)
        seconds["labels"] = time.monotonic() - begin
    else:
        notes += mixed
    if asked.features is not None:
        told = data.columns[features.NAME].numbers
        notes.append(features.mix(told, data.images.source, data.pseudo, asked.features, asked.seed))
    rows, arrays = _with_extremes(data, rows, answers, asked.seed)
    audit = Audit(
        sources=asked.source,
        images=np.bincount(data.images.source).tolist(),
        listed=data.listed,
        test_images=np.bincount(data.images.source[data.rows("test")]).tolist(),
        chance=1 / len(asked.source),
        verdict=verdict(rows, asked.source, asked.labels, mixed),
        rows=rows,
        duplicates=data.images.duplicates or [],
        skipped=[dataclasses.asdict(one) for one in data.images.skipped],
        notes=notes,
        settings=settings_of(asked),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        peak_memory=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        combs=data.combs,
        levels=data.levels,
        across=crossed,
        where=map_,
    )
    return Found(audit, arrays)


def settings_of(asked: AuditSettings) -> dict[str, Any]:
    """The settings that change what is found."""
    left_out = ("source", "out", "threads", "device", "fail_above", "data_root")
    return {name: value for name, value in dataclasses.asdict(asked).items() if name not in left_out}


def _network(
    data: Seen, nets: networks.Networks, name: str, seed: int, finished: Finished
) -> tuple[Answers, Where | None]:
    """One network's row, and, of the whole image's, where it looks: where one looks that knows nothing is nowhere."""
    key = f"{name} (network)"
    if not finished.has(key):
        answers, model = nets.of_cue(data, name, seed)
        own = None
        if name == NETWORK and _knows(data, answers, seed):
            own = where.where(model, data, nets.device, step_seed(seed, 0, "where"))
        finished.keep(answers, own)
        return answers, own
    return finished.read(key)


def _knows(data: Seen, answers: Answers, seed: int) -> bool:
    """Whether a row, taken alone, reads more than luck allows."""
    test = data.rows("test")
    told = answers.odds.argmax(axis=1)
    p = permutation_p([told], data.images.source[test], data.images.group[test], step_seed(seed, 0, "does it know"))
    return p[0] <= ladder.LEVEL


def _with_extremes(
    data: Seen, rows: list[Row], answers: list[Answers], seed: int
) -> tuple[list[Row], dict[str, Array]]:
    """The rows with the names of the most extreme test images of each source, and those images (K, SHOWN, S, S, 3) by row."""
    test = data.rows("test")
    source = data.images.source[test]
    found, arrays = [], {}
    for row, one in zip(rows, answers, strict=True):
        if not row.significant:
            found.append(row)
            continue
        chosen = []
        # Trees give many images one probability: of these it is drawn, for each row anew.
        lot = np.random.default_rng(step_seed(seed, 0, f"extremes {one.key}")).random(len(test))
        for k in range(len(data.images.keys)):
            mine = np.flatnonzero(source == k)
            chosen.append(test[mine[np.lexsort((lot[mine], -one.odds[mine, k].round(3)))[:SHOWN]]])
        arrays[f"extreme/{one.key}"] = np.stack([data.fetch(index) for index in chosen])
        found.append(dataclasses.replace(row, extremes=[[data.images.names[i] for i in index] for index in chosen]))
    return found, arrays
