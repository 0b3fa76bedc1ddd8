"""Proof of removal: what fresh classifiers read from raw and from lensed images, and what the lens cost."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.intervals import Interval, mapped, too_few
from lens.base.terminal import Bar
from lens.images import classes
from lens.measuring import fresh, proportions, resampling
from lens.measuring.downstream import Probe, merge_downstream
from lens.measuring.fresh import Judged, Recipe
from lens.measuring.proportions import means_by_class
from lens.operations.quality import psnr
from lens.players.experiment import Experiment
from lens.protocols.lookup import key_name, short_names
from lens.proving import cost
from lens.proving.shown import Shown, shown
from lens.record.run import Run

Array = np.ndarray[Any, Any]
READABLE = 0.95
"""Balanced accuracy on raw images from which a cue counts as readable: below it a removal has little to prove."""
CLOSE = 0.1
"""Excess over chance that counts as none: nothing is called gone unless the interval ends within it (45 to 55 % of two sources)."""
FRESH, ADVERSARY = "the best fresh classifier", "the adversary, trained on"


def removal(players: Experiment, probes: list[Probe]) -> dict[str, Any]:
    """Everything in removal.json: can a fresh classifier tell the sources apart, before and after the lens, and at what cost?

    The lens was trained on the `train` split; the classifiers are trained on `fresh` images and stopped on `val`, the
    best of them in validation answers about `test`. Raises BadInput for a run without a lens,
    without several sources or without images kept for fresh classifiers.
    """
    images, settings = players.images, players.settings
    check(players)
    labels, names = classes.pooled(images)
    splits = {
        new: players.of_each_source(old, settings.removal_images)
        for new, old in (("train", "fresh"), ("val", "val"), ("test", "test"))
    }
    total = sum(len(index) for index in splits.values())
    with Bar("lensing", total, "images") as bar:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.advance(done)

        sets = {split: shown(players, index, labels, advance) for split, index in splits.items()}
    sources = len(images.keys)
    found: dict[str, Any] = {"sources": list(images.keys), "chance": 1 / sources}
    found["images"] = {split: np.bincount(part.source, minlength=sources).tolist() for split, part in sets.items()}
    found["groups"] = {
        split: [len(np.unique(part.group[part.source == k])) for k in range(sources)] for split, part in sets.items()
    }
    found["recipe"] = dataclasses.asdict(Recipe(settings.removal_steps)) | {"seeds": settings.judge_seeds}
    answers = {}
    for kind in ("raw", "lensed"):
        found[kind], answers[kind] = told_apart(players, sets, kind)
    if players.by_source:
        found["lensed"] |= adversary_reads(players, sets)
    found["readable"] = found["raw"]["balanced_accuracy"] >= READABLE
    found["fall"], found["fall_ci"] = _fall(found, sets["test"], answers, settings.seed)
    found["left"], found["left_ci"], found["left_to"] = left(found)
    found |= quality(sets["test"], settings.seed)
    found["verdict"] = verdict(found)
    found["close"] = _close(found["chance"])
    found["wide"] = any(wide(found, ends) for ends in _intervals(found))
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


def check(players: Experiment) -> None:
    """Raise BadInput where there is nothing to prove or nobody to prove it with."""
    images = players.images
    if players.ranks.world > 1:
        raise BadInput(
            "--removal measures in one process: train under torchrun, then python -m lens.probe RUN --removal"
        )
    if players.lens is None or players.settings.has_rival:
        adversary = players.settings.adversary
        raise BadInput(f"--removal asks what a lens has removed, and this run has none (--adversary {adversary})")
    settings = players.settings
    treated = {"grey": settings.grey, "colour_jitter": settings.colour_jitter, "blur": settings.blur}
    if flags := [f"--{flag} {value:g}" for flag, value in treated.items() if value]:
        raise BadInput(
            f"--removal compares images as they are with lensed ones, and {' '.join(flags)} treats them before: leave it "
            "out, or give images that were treated so"
        )
    if len(images.keys) < 2:
        raise BadInput(
            "--removal asks which source an image comes from and this run has one: give two --data, or --split_sources"
        )
    if players.task.views != 1:
        raise BadInput(
            f"--removal looks at whole images and --task {key_name(players.settings.task)} lenses {players.task.views} views of "
            "each: use --task dataset_classification or labels"
        )
    if not len(images.indices("fresh")):
        raise BadInput(
            "--removal needs images that the lens has not seen: train with --fresh_fraction 0.5 (the default of "
            "--task dataset_classification)"
        )
    for number, key in enumerate(images.keys):
        if empty := [split for split in ("fresh", "val", "test") if not len(images.indices(split, number))]:
            raise BadInput(
                f"--removal needs images of every source in every split, and {key} has none in its {empty[0]} split: give more"
            )
    for name in players.settings.judges:
        fresh.build(name, 2, players.settings.image_size, fresh.stem_of(name, players.settings))


# --- which source? ---------------------------------------------------------------------------------------------------


def told_apart(players: Experiment, sets: dict[str, Shown], kind: str) -> tuple[dict[str, Any], Array]:
    """How well fresh classifiers tell the sources apart on one kind of images; the best in validation counts.

    `val_balanced_accuracy` is what that one reads of validation images, the highest of all: a little too high.
    """
    pictures = {split: part.pictures(kind, "source") for split, part in sets.items()}
    truth, group = pictures["test"].answer, sets["test"].group
    every: dict[str, list[Judged]] = {
        name: [
            fresh.judged(players, name, len(players.images.keys), pictures, seed, kind)
            for seed in players.settings.judge_seeds
        ]
        for name in players.settings.judges
    }
    best = max((one for judges in every.values() for one in judges), key=lambda one: (one.validation, -one.loss))
    accuracy, interval = proportions.balanced_accuracy(
        (best.answers == truth).astype(float), np.ones(len(truth)), truth, group
    )
    chance = 1 / len(players.images.keys)
    by_architecture = {
        name: {
            "balanced_accuracy": [float(means_by_class(one.answers == truth, truth).mean()) for one in judges],
            "validation": [one.validation for one in judges],
            "steps": [one.steps for one in judges],
            "plateau": [one.plateau for one in judges],
        }
        for name, judges in every.items()
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


def adversary_reads(players: Experiment, sets: dict[str, Shown]) -> dict[str, Any]:
    """`adversary`, the balanced accuracy of the run's own extractor, trained on with the lens held still, and its interval.

    Stricter than the fresh ones: what hides so well that a network has to know where to look, it may still read. Only of
    dataset classification: the extractor of another task knows nothing of sources.
    """
    pictures = {split: part.pictures("lensed", "source") for split, part in sets.items()}
    extractor = copy.deepcopy(players.extractor).float()  # as the fresh ones, also under --precision 64
    if len(extractor.lensed_statistics):
        extractor.use_lensed_statistics()
    found = fresh.judged(players, ADVERSARY, 0, pictures, players.settings.seed, "lensed", model=extractor)
    right = (found.answers == sets["test"].source).astype(float)
    reads, interval = proportions.balanced_accuracy(right, np.ones(len(right)), sets["test"].source, sets["test"].group)
    return {"adversary": reads, "adversary_ci": interval, "val_adversary": found.validation}


def _fall(found: dict[str, Any], test: Shown, right: dict[str, Array], seed: int) -> tuple[float, Interval]:
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


def left(found: dict[str, Any]) -> tuple[float | None, Interval | None, str]:
    """The share of the excess over chance that the strictest judge still reads on lensed images, its ends, and that judge.

    Above or below chance is the same: who is always wrong has read the source. None where nothing is read on raw images.
    The ends are the least and the most that the two accuracies' intervals allow. The accuracies are of the same images, so
    these reach further than a 95 % interval of the share would. None where the raw one holds chance: then there is no most.
    """
    lensed, chance = found["lensed"], found["chance"]
    reads = {FRESH: (abs(lensed["balanced_accuracy"] - chance), lensed["ci"])}
    if "adversary" in lensed:
        reads[ADVERSARY] = (abs(lensed["adversary"] - chance), lensed["adversary_ci"])
    judge = max(reads, key=lambda name: reads[name][0])
    read, ends = reads[judge]
    raw, raw_ends = abs(found["raw"]["balanced_accuracy"] - chance), found["raw"]["ci"]
    share = read / raw if raw else None
    for interval in (raw_ends, ends):
        if too_few(interval):
            return share, interval, judge
    (low, high), (raw_low, raw_high) = _distances(found, ends), _distances(found, raw_ends)
    return share, [low / raw_high, high / raw_low] if raw_low else None, judge


def verdict(found: dict[str, Any]) -> str:
    """What may be said of a removal: the first of these that is true.

    - `unchanged`: no pixel was.
    - `too few groups`: an interval that would decide is none.
    - `nothing to remove`: on raw and on lensed images every interval holds chance, and lies close to it.
    - `undecided`: every interval holds chance, and too much besides.
    - `not removed`: no significant fall from raw to lensed images.
    - `removed`: every interval on lensed images holds chance, and lies close to it.
    - `reduced`: half of what could be read is gone.
    - `not halved`: it is not, or that is not shown.

    The intervals are those of the best fresh classifier and, on lensed images, of the adversary trained on (of a task that
    is not about sources there is none). One that ends below chance does not hold it: who is always wrong has read the
    source. Close is within `CLOSE` of the excess on either side: a wide interval is never taken for chance (equivalence is
    shown, not assumed: Schuirmann 1987). Nor is a half: the far end of the widest interval on lensed images must be at most
    half as far from chance as the near end of that on raw ones. The point estimate is then below a half as well.
    """
    if found["psnr"] is None:
        return "unchanged"
    intervals = _intervals(found)
    if any(map(too_few, (*intervals, found["fall_ci"]))):
        return "too few groups"
    raw, *lensed = intervals
    gone = all(_holds(found, ends) for ends in lensed)
    if gone and _holds(found, raw):
        return "undecided" if any(wide(found, ends) for ends in intervals) else "nothing to remove"
    if found["fall_ci"][0] <= 0:
        return "not removed"
    if gone and not any(wide(found, ends) for ends in lensed):
        return "removed"
    most = max(_distances(found, ends)[1] for ends in lensed)
    return "reduced" if most <= _distances(found, raw)[0] / 2 else "not halved"


def _intervals(found: dict[str, Any]) -> list[Any]:
    """Of the best fresh classifier on raw and on lensed images, and of the adversary trained on, where there is one."""
    lensed = found["lensed"]
    return [found["raw"]["ci"], *(lensed[name] for name in ("ci", "adversary_ci") if name in lensed)]


def _close(chance: float) -> float:
    return chance + CLOSE * (1 - chance)


def _holds(found: dict[str, Any], interval: list[float]) -> bool:
    """Whether an interval holds chance."""
    return bool(interval[0] <= found["chance"] <= interval[1])


def _distances(found: dict[str, Any], interval: list[float]) -> tuple[float, float]:
    """How near to chance and how far from it an interval reaches, on either side."""
    ends = [abs(end - found["chance"]) for end in interval]
    return 0.0 if _holds(found, interval) else min(ends), max(ends)


def wide(found: dict[str, Any], interval: Interval) -> bool:
    """Whether an interval of accuracy that holds chance goes so far beside it that chance is not shown."""
    if not isinstance(interval, list) or not _holds(found, interval):
        return False
    return bool(max(abs(end - found["chance"]) for end in interval) > CLOSE * (1 - found["chance"]))


def quality(test: Shown, seed: int) -> dict[str, Any]:
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
