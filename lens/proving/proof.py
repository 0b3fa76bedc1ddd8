"""Proof of removal: what fresh classifiers read from raw and from lensed images, and what the lens cost."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from lens.base.bar import Bar
from lens.base.errors import BadInput
from lens.base.intervals import Interval, mapped, too_few
from lens.images import classes
from lens.measuring import judges, proportions, resampling
from lens.measuring.downstream import merge_downstream
from lens.measuring.judges import JudgeResult, Recipe
from lens.measuring.probes import Probe
from lens.measuring.proportions import means_by_class
from lens.operations.quality import psnr
from lens.players.players import Players
from lens.protocols.lookup import key_name, short_names
from lens.proving import cost, verdict
from lens.proving.lensed_set import LensedSet, lens_images
from lens.record.run import Run

Array = np.ndarray[Any, Any]
READABLE = 0.95
"""Balanced accuracy on raw images from which a cue counts as readable: below it a removal has little to prove."""


def removal(players: Players, probes: list[Probe]) -> dict[str, Any]:
    """Everything in removal.json: can a fresh classifier tell the sources apart, before and after the lens, and at what cost?

    The lens was trained on the `train` split; the classifiers are trained on `fresh` images and stopped on `val`, the
    best of them in validation answers about `test`. Raises BadInput for a run without a lens,
    without several sources or without images kept for fresh classifiers.
    """
    images, settings = players.images, players.settings
    check(players)
    labels, names = classes.pooled(images)
    splits = {
        new: players.of_each_source(old, settings.proof.judge_images)
        for new, old in (("train", "fresh"), ("val", "val"), ("test", "test"))
    }
    total = sum(len(index) for index in splits.values())
    with Bar("lensing", total, "images") as bar:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.advance(done)

        sets = {split: lens_images(players, index, labels, advance) for split, index in splits.items()}
    sources = len(images.keys)
    found: dict[str, Any] = {"sources": list(images.keys), "chance": 1 / sources}
    found["images"] = {split: np.bincount(part.source, minlength=sources).tolist() for split, part in sets.items()}
    found["groups"] = {
        split: [len(np.unique(part.group[part.source == k])) for k in range(sources)] for split, part in sets.items()
    }
    found["recipe"] = dataclasses.asdict(Recipe(settings.proof.judge_steps)) | {"seeds": settings.seeds_of_judges}
    answers = {}
    for kind in ("raw", "lensed"):
        found[kind], answers[kind] = told_apart(players, sets, kind)
    if players.by_source:
        found["lensed"] |= adversary_reads(players, sets)
    found["readable"] = found["raw"]["balanced_accuracy"] >= READABLE
    found["fall"], found["fall_ci"] = _fall(found, sets["test"], answers, settings.optimisation.seed)
    found["left"], found["left_ci"], found["left_to"] = verdict.left(found)
    found |= quality(sets["test"], settings.optimisation.seed)
    found["verdict"] = verdict.of(found)
    found["close"] = verdict.close(found["chance"])
    found["wide"] = any(verdict.too_wide(found, ends) for ends in verdict.intervals(found))
    known = cost.labelled(players, sets, names)
    found["downstream"] = cost.by_fresh_classifiers(players, known, len(names)) if known else None
    found["frozen"] = cost.by_frozen_features(players, known) if known else None
    found["probes"] = {
        name: cost.on_probe(players, probe)
        for name, probe in zip(short_names([probe.key for probe in probes]), probes, strict=True)
    }
    return found


def save(run: Run, summary: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Write removal.json; the summary with it."""
    summary = added(summary, found)
    run.write_json("removal.json", summary["removal"])
    return summary


def added(summary: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A summary with a proof. What was proved of these very weights on other probes stays."""
    earlier = summary.get("removal", {}).get("probes", {})
    return summary | {"removal": found | {"probes": merge_downstream(earlier, found["probes"])}}


def check(players: Players) -> None:
    """Raise BadInput where there is nothing to prove or nobody to prove it with."""
    images = players.images
    if players.ranks.world > 1:
        raise BadInput("--prove measures in one process: train under torchrun, then lens prove RUN")
    if players.lens is None or players.settings.players.has_rival:
        raise BadInput(
            f"--prove asks what a lens has removed, and this run has none (--lens {players.settings.players.lens})"
        )
    settings = players.settings
    treated = {"grey": settings.views.grey, "colour_jitter": settings.views.colour_jitter, "blur": settings.views.blur}
    if flags := [f"--{flag} {value:g}" for flag, value in treated.items() if value]:
        raise BadInput(
            f"--prove compares images as they are with lensed ones, and {' '.join(flags)} treats them before: leave it "
            "out, or give images that were treated so"
        )
    if len(images.keys) < 2:
        raise BadInput(
            "--prove asks which source an image comes from and this run has one: give two --data, or --pseudo_sources"
        )
    if players.task.views != 1:
        raise BadInput(
            f"--prove looks at whole images and --task {key_name(players.settings.question.task)} lenses {players.task.views} views of "
            "each: use --task dataset_classification or labels"
        )
    if not len(images.indices("fresh")):
        raise BadInput(
            "--prove needs images that the lens has not seen: train with --judge_fraction 0.5 (the default of "
            "--task dataset_classification)"
        )
    for number, key in enumerate(images.keys):
        if empty := [split for split in ("fresh", "val", "test") if not len(images.indices(split, number))]:
            raise BadInput(
                f"--prove needs images of every source in every split, and {key} has none in its {empty[0]} split: give more"
            )
    for name in players.settings.judge_architectures:
        judges.build(name, 2, players.settings.data.image_size, judges.stem_of(name, players.settings))


# --- which source? ---------------------------------------------------------------------------------------------------


def told_apart(players: Players, sets: dict[str, LensedSet], kind: str) -> tuple[dict[str, Any], Array]:
    """How well fresh classifiers tell the sources apart on one kind of images; the best in validation counts.

    `val_balanced_accuracy` is what that one reads of validation images, the highest of all: a little too high.
    """
    pictures = {split: part.pictures(kind, "source") for split, part in sets.items()}
    truth, group = pictures["test"].answer, sets["test"].group
    every: dict[str, list[JudgeResult]] = {
        name: [
            judges.judged(players, name, len(players.images.keys), pictures, seed, kind)
            for seed in players.settings.seeds_of_judges
        ]
        for name in players.settings.judge_architectures
    }
    best = max((one for results in every.values() for one in results), key=lambda one: (one.validation, -one.loss))
    accuracy, interval = proportions.balanced_accuracy(
        (best.answers == truth).astype(float), np.ones(len(truth)), truth, group
    )
    chance = 1 / len(players.images.keys)
    by_architecture = {
        name: {
            "balanced_accuracy": [float(means_by_class(one.answers == truth, truth).mean()) for one in results],
            "validation": [one.validation for one in results],
            "steps": [one.steps for one in results],
            "plateau": [one.plateau for one in results],
        }
        for name, results in every.items()
    }
    return {
        "balanced_accuracy": accuracy,
        "ci": interval,
        "val_balanced_accuracy": best.validation,
        "excess": (accuracy - chance) / (1 - chance),
        "excess_ci": mapped(interval, lambda end: (end - chance) / (1 - chance)),
        "by_source": means_by_class(best.answers == truth, truth).tolist(),
        "by_architecture": by_architecture,
    }, best.answers == truth  # fmt: skip


def adversary_reads(players: Players, sets: dict[str, LensedSet]) -> dict[str, Any]:
    """`adversary`, the balanced accuracy of the run's own extractor, trained on with the lens held still, and its interval.

    Stricter than the fresh ones: what hides so well that a network has to know where to look, it may still read. Only of
    dataset classification: the extractor of another task knows nothing of sources.
    """
    pictures = {split: part.pictures("lensed", "source") for split, part in sets.items()}
    extractor = copy.deepcopy(players.extractor).float()  # as the fresh ones, also under --precision 64
    if len(extractor.lensed_statistics):
        extractor.use_lensed_statistics()
    found = judges.judged(
        players, verdict.ADVERSARY, 0, pictures, players.settings.optimisation.seed, "lensed", model=extractor
    )
    right = (found.answers == sets["test"].source).astype(float)
    reads, interval = proportions.balanced_accuracy(right, np.ones(len(right)), sets["test"].source, sets["test"].group)
    return {"adversary": reads, "adversary_ci": interval, "val_adversary": found.validation}


def _fall(found: dict[str, Any], test: LensedSet, right: dict[str, Array], seed: int) -> tuple[float, Interval]:
    """How far the best classifiers' balanced accuracy falls from raw to lensed, paired over the test images.

    One whose interval ends below chance has read the source and answers backwards: its accuracy is mirrored at chance.
    """
    each = {kind: answers.astype(float) for kind, answers in right.items()}
    for kind in each:
        ends = found[kind]["ci"]
        if not too_few(ends) and ends[1] < found["chance"]:
            each[kind] = 2 * found["chance"] - each[kind]
    difference = each["raw"] - each["lensed"]
    ones = np.ones(len(difference))
    fall = float(means_by_class(difference, test.source).mean())
    return fall, resampling.bootstrap(difference, ones, test.group, seed, stratum=test.source)


def quality(test: LensedSet, seed: int) -> dict[str, Any]:
    """PSNR in dB from the pooled mean squared error, over all test images and over those with a planted cue, and SSIM.

    None where nothing changed (it would be infinite); `psnr_planted` also where nothing is planted.
    """
    ones = np.ones(len(test.error))
    found: dict[str, Any] = {"psnr": psnr(float(test.error.mean())), "ssim": float(test.ssim.mean())}
    found["psnr_ci"] = resampling.psnr_interval(resampling.bootstrap(test.error, ones, test.group, seed))
    carried = test.error[test.carries]
    found["psnr_planted"] = psnr(float(carried.mean())) if len(carried) else None
    found["psnr_by_source"] = [psnr(mse) for mse in means_by_class(test.error, test.source).tolist()]
    return found
