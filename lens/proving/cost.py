"""What a lens costs: class labels read by fresh classifiers and by frozen features, before it and after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lens.base.terminal import say
from lens.images import classes
from lens.images.augment import centre
from lens.measuring import judges, linear, proportions, resampling
from lens.measuring.downstream import untrained_extractor
from lens.measuring.features import of_extractor, of_pixels
from lens.measuring.probes import Probe, probe_splits
from lens.operations import quality
from lens.players.players import Players
from lens.proving.lensed_set import LensedSet, rows_of, stored, subset

Array = np.ndarray[Any, Any]


def labelled(players: Players, sets: dict[str, LensedSet], names: list[str]) -> dict[str, LensedSet] | None:
    """The sets without images of classes that those of `train` lack; a line says how many, or why there is nothing to ask.

    None where not every image has a label, or a split has fewer than two classes.
    """
    if not names or any((part.label < 0).any() for part in sets.values()):
        say("no downstream cost: not every image has a label")
        return None
    known, lines = classes.known({split: part.label for split, part in sets.items()}, names)
    for line in lines:
        say(f"downstream cost: {line}")
    if any(len(np.unique(part.label[known[split]])) < 2 for split, part in sets.items()):
        say("no downstream cost: a split has one class alone, or none that training has")
        return None
    return {split: subset(players, part, known[split]) for split, part in sets.items()}


def by_fresh_classifiers(players: Players, sets: dict[str, LensedSet], count: int) -> dict[str, Any]:
    """Accuracy on `count` classes of classifiers trained and tested on raw, then on lensed images; `cost` is what is lost.

    `val_NAME` is the same of validation images, on which each classifier's weights were chosen, balanced over the classes.
    """
    test = sets["test"]
    right: dict[str, list[Array]] = {}
    plateau: dict[str, list[bool]] = {}
    validation: dict[str, float] = {}
    for kind in ("raw", "lensed"):
        pictures = {split: part.pictures(kind, "label") for split, part in sets.items()}
        results = [
            judges.judged(players, players.settings.judge_architectures[0], count, pictures, seed, f"{kind}, class labels", flip=True)
            for seed in players.settings.seeds_of_judges
        ]  # fmt: skip
        right[kind] = [(one.answers == test.label).astype(float) for one in results]
        plateau[kind] = [one.plateau for one in results]
        validation[kind] = float(np.mean([one.validation for one in results]))
    mean = {kind: np.mean(values, axis=0) for kind, values in right.items()}
    ones = np.ones(len(test.label))
    return {
        "raw": float(mean["raw"].mean()),
        "lensed": float(mean["lensed"].mean()),
        "cost": float((mean["raw"] - mean["lensed"]).mean()),
        "cost_ci": resampling.bootstrap(
            mean["raw"] - mean["lensed"], ones, test.group, players.settings.optimisation.seed
        ),
        "val_raw": validation["raw"],
        "val_lensed": validation["lensed"],
        "val_cost": validation["raw"] - validation["lensed"],
        "seeds": {kind: [float(one.mean()) for one in values] for kind, values in right.items()},
        "plateau": plateau,
        "chance": proportions.chance(test.label),
    }


def by_frozen_features(players: Players, sets: dict[str, LensedSet]) -> dict[str, Any]:
    """Linear accuracy on class labels of the trained extractor's frozen features, on raw and on lensed images.

    Beside it an untrained extractor's on raw images: the floor.
    """
    labels = {split: part.label for split, part in sets.items()}
    raw, lensed = ({split: getattr(part, kind) for split, part in sets.items()} for kind in ("raw", "lensed"))
    return _linear(players, raw, lensed, labels, sets["test"].group)


def on_probe(players: Players, probe: Probe) -> dict[str, Any]:
    """The same on a probe's own images, each read once, to which nothing is planted, with what the lens changes there (PSNR)."""
    assert players.lens is not None
    players.lens.eval()
    settings, images = players.settings, probe.images
    limits = (settings.measuring.probe_images, settings.measuring.probe_test_images)
    splits = probe_splits(images, probe.source, probe.key, *limits, settings.optimisation.seed)
    raw: dict[str, Array] = {}
    lensed: dict[str, Array] = {}
    change = []
    for split, index in splits.items():

        def batches(index: Array) -> Iterator[dict[str, Array]]:
            for batch in players.batches(index, 256, images):
                before = centre(batch.images, settings.data.image_size).to(next(players.extractor.parameters()).dtype)
                after = quality.to_8_bits(players.lensed(before, {}, players.draws(batch)))
                change.append((after - before).square().mean(dim=(1, 2, 3)).cpu().numpy())
                yield {"raw": rows_of(before), "lensed": rows_of(after)}

        with torch.no_grad():
            found = stored(players, batches(index), len(index))
            raw[split], lensed[split] = found["raw"], found["lensed"]
    label = classes.of_source(images, probe.source)
    labels = {split: label[index] for split, index in splits.items()}
    accuracies = _linear(players, raw, lensed, labels, images.group[splits["test"]])
    return accuracies | {"psnr": quality.psnr(float(np.concatenate(change).mean())), "source": probe.key}


def _linear(
    players: Players, raw: dict[str, Array], lensed: dict[str, Array], labels: dict[str, Array], group: Array
) -> dict[str, Any]:
    """Linear accuracies of frozen features: the trained extractor's on raw and lensed images, an untrained one's on raw.

    `val_NAME` is the same of validation images, which chose the penalty.
    """
    untrained = untrained_extractor(players)
    found: dict[str, Any] = {}
    for name, extractor, images, statistics in (
        ("raw", players.extractor, raw, False), ("lensed", players.extractor, lensed, True), ("untrained", untrained, raw, False),
    ):  # fmt: skip
        reader = of_extractor(players, extractor, statistics)
        read = {split: of_pixels(players, reader, rows) for split, rows in images.items()}
        recipe = linear.ProbeRecipe(device=players.fabric.device)
        correct, went = linear.fit(read, labels, players.settings.optimisation.seed, recipe)["logistic"]
        found[name], found[f"{name}_ci"] = proportions.proportion(correct.astype(float), np.ones(len(group)), group)
        found[f"val_{name}"] = went["validation"]
    return found | {"chance": proportions.chance(labels["test"])}
