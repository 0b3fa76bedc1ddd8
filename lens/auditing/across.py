"""What a classifier of the shared classes loses from one source to another, and what images of one are worth for the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.auditing.seen import Seen
from lens.auditing.shared import Shared
from lens.base.bar import Bar
from lens.base.draws import step_seed
from lens.measuring import proportions
from lens.measuring.logistic import logistic
from lens.results.audit import Across

Array = np.ndarray[Any, Any]
CUE = "whole_image"
PARTS = (0.25, 0.5, 1.0)
"""Shares of the training images of which learning curves are made."""
REPEATS = 2
"""Random parts of a share below 1."""


def crossed(seen: Seen, shared: Shared, seed: int) -> Across:
    """Train on each source, test on each (Torralba & Efros 2011, section 3.1 and 4), on the descriptors of the whole image.

    Logistic regressions of the shared classes; of each class every source gives as many training images as any other. They
    use accuracy in the place of average precision.
    """
    index = {split: shared.matched(seen, split, seed) for split in ("train", "val")}
    test = seen.rows("test")
    index["test"] = test[shared.label[test] >= 0]
    rows = np.nan_to_num(seen.columns[CUE].numbers)
    count = len(seen.images.keys)
    curves = np.zeros((count, count, len(PARTS)))
    intervals: list[list[Any]] = []
    with Bar("classes across sources", count * (REPEATS * (len(PARTS) - 1) + 1), "fits") as bar:
        for i in range(count):
            mine = {split: own[seen.images.source[own] == i] for split, own in index.items()}
            for place, share in enumerate(PARTS):
                repeats = REPEATS if share < 1 else 1
                for repeat in range(repeats):
                    chosen = _part(mine["train"], shared.label, share, step_seed(seed, repeat, f"part {i} {share}"))
                    parts = {"train": chosen, "val": mine["val"], "test": index["test"]}
                    correct, _ = logistic(
                        {split: rows[own] for split, own in parts.items()},
                        {split: shared.label[own] for split, own in parts.items()},
                        seed,
                    )
                    per_source = [_accuracy(correct, seen, shared, index["test"], j) for j in range(count)]
                    curves[i, :, place] += np.array([value for value, _ in per_source]) / repeats
                    bar.add()
            intervals.append([ends for _, ends in per_source])
    accuracy = curves[:, :, -1]
    sizes = [share * len(index["train"]) / count for share in PARTS]
    worth = [
        [1.0 if i == j else worth_of(curves[i, j], curves[j, j], sizes) for j in range(count)] for i in range(count)
    ]
    own = accuracy.diagonal()
    others = (accuracy.sum(axis=1) - own) / (count - 1)
    images = len(index["train"]) // count
    notes = [
        *shared.notes,
        f"classifiers: logistic regressions on descriptors of the whole image, {images:,} training images of each source, as many of "
        "each class everywhere; accuracies are means over the classes",
    ]
    return Across(
        classes=shared.names,
        accuracy=accuracy.tolist(),
        ci=intervals,
        chance=1 / len(shared.names),
        drop=((own - others) / own).tolist(),
        worth=worth,
        basket=[None if None in line else float(np.mean([one for one in line if one is not None])) for line in worth],
        notes=notes,
    )


def worth_of(curve: Array, home: Array, sizes: list[float]) -> float | None:
    """α, so that n images of one source do for testing on another what α·n images of that other do: a shift along log n.

    `curve` and `home` are accuracies (P,) after training on `sizes` (P,) images of the one and of the other. None where no
    accuracy of `curve` lies within those of `home`.
    """
    rising = np.maximum.accumulate(home)
    inside = (curve >= rising[0]) & (curve <= rising[-1])
    if not inside.any() or rising[0] == rising[-1]:
        return None
    logs = np.log(sizes)
    shift = np.interp(curve[inside], rising, logs) - logs[inside]
    return float(np.exp(shift.mean()))


def _part(index: Array, label: Array, share: float, seed: int) -> Array:
    """A random share of the images, of each class alike, at least two of each."""
    chance = np.random.default_rng(seed)
    found = []
    for k in np.unique(label[index]):
        mine = chance.permutation(index[label[index] == k])
        found.append(mine[: max(2, round(share * len(mine)))])
    return np.sort(np.concatenate(found))


def _accuracy(correct: Array, seen: Seen, shared: Shared, test: Array, source: int) -> tuple[float, Any]:
    mine = seen.images.source[test] == source
    index = test[mine]
    return proportions.balanced_accuracy(
        correct[mine].astype(float), np.ones(len(index)), shared.label[index], seen.images.group[index]
    )
