"""The audit's ladder of cues, before a lens and after it: taking one cue away can make another plainer.

(Li et al. 2023, "A Whac-A-Mole Dilemma: Shortcuts Come in Multiples Where Mitigating One Amplifies Others".)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lens.auditing import columns
from lens.auditing.permutation import holm
from lens.auditing.reading import draws_of, every_cue
from lens.base.bar import Bar
from lens.base.draws import step_seed
from lens.images.data import sample_of
from lens.measuring import proportions
from lens.measuring.trees import Trees, grow
from lens.protocols.cue import Cue, Picture
from lens.proving.lensed_set import LensedSets
from lens.results.figure import Estimate
from lens.results.removal import Rung

Array = np.ndarray[Any, Any]
MOST = {"train": 2000, "val": 800, "test": 2000}
"""Images of each split that cues are asked about, at most."""
TREES = Trees(most=200)
CHUNK = 128
DRAWS = 10_000
LEVEL = 0.05


def rungs(sets: LensedSets, seed: int) -> dict[str, Rung]:
    """What boosted trees read of the source in each view of the pixels, on raw and on lensed images, and which rung has risen.

    `p` is that of a rise by luck: raw and lensed answers about a group of test images are exchanged at random (a paired
    permutation test, one-sided), corrected over all rungs (Holm). What files say of themselves is not asked: there are none.
    """
    cues = {name: cue for name, cue in every_cue().items() if cue.kind in ("history", "pixels")}
    chosen = {
        split: sample_of(np.arange(len(part.source)), MOST[split], seed, f"rungs {split}")
        for split, part in sets.splits.items()
    }
    answer = {split: sets.splits[split].source[index] for split, index in chosen.items()}
    test = sets.splits["test"]
    group, source = test.group[chosen["test"]], answer["test"]
    right: dict[str, dict[str, Array]] = {}
    with Bar("asking cues", 2 * len(cues), "cues") as bar:
        for kind in ("raw", "lensed"):
            described = _described(sets, kind, chosen, cues, seed)
            right[kind] = {}
            for name in cues:
                levels, words = _levels(described[name], {split: len(index) for split, index in chosen.items()})
                right[kind][name] = grow(levels, answer, seed, TREES, words).answers == source
                bar.add()
    rises = np.stack([right["lensed"][name].astype(float) - right["raw"][name] for name in cues])
    p = holm(rise_by_luck(rises, source, group, seed))
    ones = np.ones(len(source))
    read = {
        kind: {name: Estimate(*proportions.balanced_accuracy(one.astype(float), ones, source, group)) for name, one in of.items()}
        for kind, of in right.items()
    }  # fmt: skip
    return {
        name: Rung(raw=read["raw"][name], lensed=read["lensed"][name], p=own, risen=own <= LEVEL)
        for name, own in zip(cues, p, strict=True)
    }


def rise_by_luck(rises: Array, source: Array, group: Array, seed: int, draws: int = DRAWS) -> list[float]:
    """p of each of R rises (R, T) in balanced accuracy over test images of a `source` (T,): of exchanging what a group's two answers are.

    p = (1 + draws in which the rise is as large) / (1 + draws) (Phipson & Smyth 2010).
    """
    count = np.bincount(source)
    weight = 1 / (count[source] * np.count_nonzero(count))
    _, member = np.unique(group, return_inverse=True)
    by_group = np.zeros((member.max() + 1, len(rises)))
    np.add.at(by_group, member, (rises * weight).T)
    observed = by_group.sum(axis=0)
    chance = np.random.default_rng(step_seed(seed, 0, "rises"))
    above = np.zeros(len(rises), np.int64)
    for start in range(0, draws, 500):
        signs = chance.choice([-1.0, 1.0], size=(min(500, draws - start), len(by_group)))
        above += (signs @ by_group >= observed - 1e-12).sum(axis=0)
    return [float(one) for one in (1 + above) / (1 + draws)]


def _described(
    sets: LensedSets, kind: str, chosen: Mapping[str, Array], cues: Mapping[str, Cue], seed: int
) -> dict[str, columns.Columns]:
    """Each cue's descriptors of the chosen images of train, val and test, one after the other."""
    found: dict[str, list[Mapping[str, Array]]] = {name: [] for name in cues}
    for first, pictures in _chunks(sets, kind, chosen):
        draws = draws_of(np.arange(first, first + len(pictures)), seed)
        for name, cue in cues.items():
            found[name].append(cue.describe(pictures, draws))
    return {name: columns.joined(chunks) for name, chunks in found.items()}


def _chunks(sets: LensedSets, kind: str, chosen: Mapping[str, Array]) -> Iterator[tuple[int, list[Picture]]]:
    """Some images at a time, with the number of the first one."""
    number = 0
    for split, index in chosen.items():
        images = getattr(sets.splits[split], kind)
        for start in range(0, len(index), CHUNK):
            rows = np.asarray(images[index[start : start + CHUNK]])
            yield number, [Picture({}, row, row) for row in rows]
            number += len(rows)


def _levels(described: columns.Columns, sizes: Mapping[str, int]) -> tuple[dict[str, Array], list[int]]:
    """The levels that trees are given of each split, and which columns are words."""
    ends = np.cumsum([0, *sizes.values()])
    rows = {split: np.arange(ends[k], ends[k + 1]) for k, split in enumerate(sizes)}
    levels = described.levels(rows["train"])
    return {split: levels[index] for split, index in rows.items()}, described.categorical
