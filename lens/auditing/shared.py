"""The classes that the sources of an audit share, and images of them in equal numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lens.auditing.seen import Seen
from lens.base.draws import step_seed
from lens.base.errors import BadInput
from lens.images import classes
from lens.protocols.lookup import short_names

Array = np.ndarray[Any, Any]
LEAST = {"train": 5, "val": 1, "test": 3}
"""Images of a class that each source needs in each split for the class to be asked about."""
DIFFERENT = 0.1
"""Total variation distance of two sources' classes from which their mixes are called different."""
DIVISIONS = 200
"""Random divisions of the images that a difference is held against."""


@dataclasses.dataclass(frozen=True)
class Shared:
    """Classes that every source has enough images of: each image's number (n,) among `names`, −1 for all others."""

    label: Array
    names: list[str]
    notes: list[str]

    def matched(self, seen: Seen, split: str, seed: int) -> Array:
        """Indices of a split's images, chosen at random, of each class as many of one source as of any other."""
        chance = np.random.default_rng(step_seed(seed, 0, f"matched {split}"))
        found = []
        for k in range(len(self.names)):
            parts = [
                index[self.label[index] == k]
                for index in (seen.images.indices(split, source) for source in range(len(seen.images.keys)))
            ]
            least = min(map(len, parts))
            found += [chance.permutation(part)[:least] for part in parts]
        return np.sort(np.concatenate(found))


def shared_classes(seen: Seen) -> Shared:
    """The classes that all sources share, by name. Raises BadInput where a source has none, or fewer than two are shared."""
    images = seen.images
    label, names = classes.pooled(images)
    for source, key in enumerate(images.keys):
        if not (label[images.source == source] >= 0).any():
            raise BadInput(
                f"--labels: {key} has no classes: give a folder whose subfolders are classes, or drop --labels"
            )
    counts: dict[str, Array] = {
        split: np.stack([
            np.bincount(label[index][label[index] >= 0], minlength=len(names))
            for index in (images.indices(split, source) for source in range(len(images.keys)))
        ])
        for split in LEAST
    }  # fmt: skip
    everywhere = (np.sum(list(counts.values()), axis=0) > 0).all(axis=0)
    enough = np.all([(counts[split] >= least).all(axis=0) for split, least in LEAST.items()], axis=0)
    kept = [names[k] for k in np.flatnonzero(enough)]
    if len(kept) < 2:
        own = "; ".join(
            f"{key}: {', '.join(images.classes[source][:4])}{', …' * (len(images.classes[source]) > 4)}"
            for source, key in enumerate(images.keys)
        )
        raise BadInput(
            f"--labels: {len(kept)} class{'es' * (len(kept) != 1)} with {sum(LEAST.values())} images or more in every source, of "
            f"{int(everywhere.sum())} that are shared, and two are needed ({own}): name the subfolders alike, or drop --labels"
        )
    number = np.full(len(names) + 1, -1)
    number[np.flatnonzero(enough)] = np.arange(len(kept))
    notes = classes.joined(name for one in images.classes for name in one)
    if left := int((~enough).sum()):
        notes.append(
            f"{left:,} of {len(names):,} classes are not in every source, or too small: --labels does not ask about them"
        )
    return Shared(number[label], kept, notes)


def differing_classes(seen: Seen, seed: int) -> list[str]:
    """A line where sources that have classes differ in their mix of them by more than luck: then they show different things.

    By luck: as far as 95 in 100 random divisions of the same images, so that two samples of many classes are not called different.
    """
    images = seen.images
    label, names = classes.pooled(images)
    known = label >= 0
    source, label = images.source[known], label[known]
    if len(np.unique(source)) < len(images.keys):
        return []
    shares = _shares(source, label)
    chance = np.random.default_rng(step_seed(seed, 0, "mixes of classes"))
    by_luck = [_apart(_shares(chance.permutation(source), label)) for _ in range(DIVISIONS)]
    if _apart(shares) < max(DIFFERENT, float(np.quantile(by_luck, 0.95))):
        return []
    both = int((shares > 0).all(axis=0).sum())
    if not both:
        return [
            "The sources share no class by its name, so that nothing can be asked within classes: are they called alike?"
        ]
    gap = shares.max(axis=0) - shares.min(axis=0)
    short = short_names(images.keys)
    said = "; ".join(
        f"{names[k]} " + ", ".join(f"{100 * shares[s, k]:.0f} % of {short[s]}" for s in range(len(short)))
        for k in np.argsort(-gap)[:3]
    )
    return [
        f"The sources hold different mixes of classes ({both} of {len(names)} classes are in all of them; {said}): rows that read what "
        "the pictures show will tell them apart. --labels asks within the classes that they share."
    ]


def _shares(source: Array, label: Array) -> Array:
    """The share of each class in each source, (sources, classes)."""
    counts = np.stack([np.bincount(label[source == k], minlength=label.max() + 1) for k in np.unique(source)])
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _apart(shares: Array) -> float:
    """The largest total variation distance of two sources' shares."""
    return float(np.abs(shares[:, None] - shares[None]).sum(axis=2).max() / 2)
