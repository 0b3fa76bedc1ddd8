"""What a lens costs: class labels read by fresh classifiers and by frozen features, before it and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lens.base.terminal import say
from lens.images import classes
from lens.measuring import linear, proportions, resampling
from lens.measuring.judges import Judging
from lens.operations import quality
from lens.proving.lensed_set import LensedProbe, LensedSets
from lens.results.figure import Estimate
from lens.results.removal import Frozen, Labels, OnProbe

Array = np.ndarray[Any, Any]
Features = Callable[[Array], Array]
"""Images (n, H, W, C) uint8 → rows of numbers (n, F)."""


@dataclasses.dataclass(frozen=True)
class FrozenFeatures:
    """A trained extractor's features of raw and of lensed images, and an untrained one's of raw ones: the floor."""

    raw: Features
    lensed: Features
    untrained: Features


def labelled(sets: LensedSets) -> LensedSets | None:
    """The sets without images of classes that those of `train` lack; a line says how many, or why there is nothing to ask.

    None where not every image has a label, or a split has fewer than two classes.
    """
    label = {split: part.label for split, part in sets.splits.items()}
    if not sets.classes or any((answers < 0).any() for answers in label.values()):
        say("no downstream cost: not every image has a label")
        return None
    known, lines = classes.known(label, sets.classes)
    for line in lines:
        say(f"downstream cost: {line}")
    if any(len(np.unique(answers[known[split]])) < 2 for split, answers in label.items()):
        say("no downstream cost: a split has one class alone, or none that training has")
        return None
    return sets.subset(known)


def by_fresh_classifiers(sets: LensedSets, judging: Judging) -> Labels:
    """Accuracy on the classes of classifiers trained and tested on raw, then on lensed images; `cost` is what is lost.

    That of validation images, on which each classifier's weights were chosen, is balanced over the classes.
    """
    test = sets.splits["test"]
    right: dict[str, list[Array]] = {}
    plateau: dict[str, list[bool]] = {}
    validation: dict[str, float] = {}
    judge = judging.of_labels(len(sets.classes))
    for kind in ("raw", "lensed"):
        pictures = sets.pictures(kind, "label")
        results = [judge.read(pictures, seed, f"{kind}, class labels") for seed in judging.seeds]
        right[kind] = [(one.answers == test.label).astype(float) for one in results]
        plateau[kind] = [one.plateau for one in results]
        validation[kind] = float(np.mean([one.validation for one in results]))
    mean = {kind: np.mean(values, axis=0) for kind, values in right.items()}
    lost = mean["raw"] - mean["lensed"]
    ends = resampling.bootstrap(lost, np.ones(len(test.label)), test.group, judging.seed)
    return Labels(
        raw=Estimate(float(mean["raw"].mean()), None, validation["raw"]),
        lensed=Estimate(float(mean["lensed"].mean()), None, validation["lensed"]),
        cost=Estimate(float(lost.mean()), ends, validation["raw"] - validation["lensed"]),
        seeds={kind: [float(one.mean()) for one in values] for kind, values in right.items()},
        plateau=plateau,
        chance=proportions.chance(test.label),
    )


def by_frozen_features(sets: LensedSets, frozen: FrozenFeatures, judging: Judging) -> Frozen:
    """Linear accuracy on class labels of the trained extractor's frozen features, on raw and on lensed images.

    Beside it an untrained extractor's on raw images: the floor.
    """
    labels = {split: part.label for split, part in sets.splits.items()}
    raw, lensed = ({split: getattr(part, kind) for split, part in sets.splits.items()} for kind in ("raw", "lensed"))
    return Frozen(**_linear(LensedProbe("", raw, lensed, labels, sets.splits["test"].group, 0.0), frozen, judging))


def on_probe(probe: LensedProbe, frozen: FrozenFeatures, judging: Judging) -> OnProbe:
    """The same on a probe's own images, with what the lens changes there (PSNR)."""
    return OnProbe(**_linear(probe, frozen, judging), psnr=quality.psnr(probe.mse), source=probe.key)


def _linear(shown: LensedProbe, frozen: FrozenFeatures, judging: Judging) -> dict[str, Any]:
    """Linear accuracies of frozen features: the trained extractor's on raw and lensed images, an untrained one's on raw.

    That of validation images, which chose the penalty, stands beside each.
    """
    found: dict[str, Any] = {"chance": proportions.chance(shown.labels["test"])}
    group = shown.group
    for name, features, images in (
        ("raw", frozen.raw, shown.raw), ("lensed", frozen.lensed, shown.lensed), ("untrained", frozen.untrained, shown.raw),
    ):  # fmt: skip
        read = {split: features(rows) for split, rows in images.items()}
        recipe = linear.ProbeRecipe(device=judging.device)
        correct, went = linear.fit(read, shown.labels, judging.seed, recipe)["logistic"]
        accuracy = proportions.proportion(correct.astype(float), np.ones(len(group)), group)
        found[name] = Estimate(*accuracy, went.validation)
    return found
