"""Proof of removal: what fresh classifiers read from raw and from lensed images, and what the lens cost."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lens import fresh, linear, measure
from lens.augment import centre
from lens.data import some
from lens.downstream import Probe, cache_folder, probe_splits, short_names
from lens.experiment import Experiment, new_extractor, pooled_labels
from lens.feature_store import PIXELS, gathered
from lens.fresh import Judged, Pictures, Recipe
from lens.networks import Extractor
from lens.protocols import BadInput
from lens.settings import Settings
from lens.terminal import Bar, say

Array = np.ndarray[Any, Any]
READABLE = 0.95
"""Balanced accuracy on raw images from which a cue counts as readable: below it a removal has little to prove."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A split's images at 8 bits, raw (with the planted cue, where there is one) and lensed: (n, H, W, C) uint8 each.

    `source` and `label` (n,) int64 are what is asked about them (a label of −1: none); `error` and `ssim` (n,) compare
    the two, `carries` (n,) bool tells which carry a planted cue.
    """

    raw: Array
    lensed: Array
    source: Array
    label: Array
    group: Array
    error: Array
    ssim: Array
    carries: Array

    def pictures(self, kind: str, answer: str) -> Pictures:
        """The images of a kind (raw, lensed) with the answers to a question (source, label)."""
        return Pictures(getattr(self, kind), getattr(self, answer))


@torch.no_grad()
def shown(players: Experiment, index: Array, labels: Array, advance: Callable[[int], None]) -> Shown:
    """Lens the images at `index` as they would be applied: held-out draws, the whole image, rounded to 8 bits."""
    assert players.lens is not None
    players.lens.eval()
    images = players.images
    parts: dict[str, list[Array]] = {"error": [], "ssim": [], "carries": []}

    def batches(through: bool) -> Iterator[Array]:
        for batch in players.batches(index, 256):
            views, question, carries = players.views(batch, training=False)
            views = measure.to_8_bits(views)
            if through:
                before, views = views, measure.to_8_bits(players.lensed(views, question, players.draws(batch)))
                parts["error"].append((views - before).square().mean(dim=(1, 2, 3)).double().cpu().numpy())
                parts["ssim"].append(measure.ssim(before.contiguous(), views.contiguous()).double().cpu().numpy())
                parts["carries"].append(carries.cpu().numpy())
            advance(len(views))
            yield _rows(views)

    raw, lensed = (_stored(players, batches(through), len(index)) for through in (False, True))
    found = {name: np.concatenate(values) for name, values in parts.items()}
    return Shown(raw, lensed, images.source[index], labels[index], images.group[index], **found)


def removal(players: Experiment, probes: list[Probe]) -> dict[str, Any]:
    """Everything in removal.json: can a fresh classifier tell the sources apart, before and after the lens, and at what cost?

    The lens was trained on the `train` split; the classifiers are trained on `fresh` images and stopped on `val`, the
    best of them in validation answers about `test` (PROTOCOLS section 4). Raises BadInput for a run without a lens,
    without several sources or without images kept for fresh classifiers.
    """
    images, settings = players.images, players.settings
    check(players)
    labels, classes = pooled_labels(images)
    splits = {
        new: some(images.indices(old), settings.removal_images, settings.seed, f"proof {old}")
        for new, old in (("train", "fresh"), ("val", "val"), ("test", "test"))
    }
    total = 2 * sum(len(index) for index in splits.values())
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
    found["recipe"] = dataclasses.asdict(Recipe(settings.removal_steps)) | {"seeds": settings.removal_seeds}
    answers = {}
    for kind in ("raw", "lensed"):
        found[kind], answers[kind] = told_apart(players, sets, kind)
    if players.by_source:
        found["lensed"]["adversary"], found["lensed"]["adversary_ci"] = adversary_reads(players, sets)
    found["readable"] = found["raw"]["balanced_accuracy"] >= READABLE
    found["fall"], found["fall_ci"] = _fall(sets["test"], answers, settings.seed)
    found |= quality(sets["test"], settings.seed)
    found["verdict"] = verdict(found)
    found["downstream"] = cost(players, sets, len(classes)) if classes else None
    found["frozen"] = frozen(players, sets) if classes else None
    found["probes"] = {name: probed(players, probe) for name, probe in zip(short_names(probes), probes, strict=True)}
    return found


def check(players: Experiment) -> None:
    """Raise BadInput where there is nothing to prove or nobody to prove it with."""
    images = players.images
    if players.ranks.world > 1:
        raise BadInput(
            "--removal measures in one process: train under torchrun, then python -m lens.probe RUN --removal"
        )
    if players.lens is None:
        raise BadInput("--removal asks what a lens has removed, and this run has none (--adversary none)")
    if len(images.keys) < 2:
        raise BadInput(
            "--removal asks which source an image comes from and this run has one: give two --data, or --split_sources"
        )
    if not len(images.indices("fresh")):
        raise BadInput(
            "--removal needs images that the lens has not seen: train with --fresh_fraction 0.5 (the default of "
            "--task dataset_classification)"
        )
    for name in players.settings.judges:
        fresh.build(name, 2, players.settings.image_size, stem_of(name, players.settings))


# --- which source? ---------------------------------------------------------------------------------------------------


def told_apart(players: Experiment, sets: dict[str, Shown], kind: str) -> tuple[dict[str, Any], Array]:
    """How well fresh classifiers tell the sources apart on one kind of images; the best in validation counts."""
    pictures = {split: part.pictures(kind, "source") for split, part in sets.items()}
    truth, group = pictures["test"].answer, sets["test"].group
    every: dict[str, list[Judged]] = {
        name: [
            judged(players, name, len(players.images.keys), pictures, seed, kind)
            for seed in range(players.settings.removal_seeds)
        ]
        for name in players.settings.judges
    }
    best = max((one for judges in every.values() for one in judges), key=lambda one: one.validation)
    accuracy, interval = measure.balanced_accuracy(
        (best.answers == truth).astype(float), np.ones(len(truth)), truth, group
    )
    chance = 1 / len(players.images.keys)
    by_architecture = {
        name: {
            "balanced_accuracy": [fresh.balanced_accuracy(one.answers, truth) for one in judges],
            "validation": [one.validation for one in judges],
            "steps": [one.steps for one in judges],
            "plateau": [one.plateau for one in judges],
        }
        for name, judges in every.items()
    }
    return {
        "balanced_accuracy": accuracy,
        "ci": interval,
        "excess": (accuracy - chance) / (1 - chance),
        "excess_ci": [(end - chance) / (1 - chance) for end in interval],
        "by_source": [float((best.answers[truth == k] == k).mean()) for k in np.unique(truth)],
        "by_architecture": by_architecture,
    }, best.answers == truth  # fmt: skip


def judged(
    players: Experiment, name: str, classes: int, pictures: dict[str, Pictures], seed: int, what: str,
    flip: bool = False, model: nn.Module | None = None,
) -> Judged:  # fmt: skip
    """One classifier, with a bar: a fresh one by its name, or `model` as it is."""
    settings = players.settings
    recipe = Recipe(settings.removal_steps)

    def make() -> nn.Module:
        if model is not None:
            return model
        return fresh.build(name, classes, settings.image_size, stem_of(name, settings))

    with Bar(f"{what}: {name}, seed {seed}", recipe.steps, "steps") as bar:
        return fresh.judge(
            make, pictures, seed, recipe, players.fabric.device, players.fabric.autocast, flip, bar.advance
        )


def adversary_reads(players: Experiment, sets: dict[str, Shown]) -> tuple[float, list[float]]:
    """The balanced accuracy, with its interval, of the run's own extractor, trained on with the lens held still.

    Stricter than the fresh ones: what hides so well that a network has to know where to look, it may still read. Only of
    dataset classification: the extractor of another task knows nothing of sources.
    """
    pictures = {split: part.pictures("lensed", "source") for split, part in sets.items()}
    extractor = copy.deepcopy(players.extractor)
    if len(extractor.lensed_statistics):
        extractor.use_lensed_statistics()
    found = judged(players, "the adversary, trained on", 0, pictures, 0, "lensed", model=extractor)
    right = (found.answers == sets["test"].source).astype(float)
    return measure.balanced_accuracy(right, np.ones(len(right)), sets["test"].source, sets["test"].group)


def stem_of(spec: str, settings: Settings) -> str:
    """The root of a classifier: the run's own for its extractor, else the small one for ResNets on small images."""
    name, _ = fresh.parts(spec)
    if name == settings.extractor:
        return settings.extractor_stem
    return "small" if settings.image_size <= 64 and name.startswith(("resnet", "test_resnet")) else "default"


def _fall(test: Shown, right: dict[str, Array], seed: int) -> tuple[float, list[float]]:
    """How far the best classifiers' balanced accuracy falls from raw to lensed, paired over the test images."""
    difference = right["raw"].astype(float) - right["lensed"]
    ones = np.ones(len(difference))
    fall = float(np.mean([difference[test.source == k].mean() for k in np.unique(test.source)]))
    return fall, measure.bootstrap(difference, ones, test.group, seed, stratum=test.source)


def verdict(found: dict[str, Any]) -> str:
    """`unchanged` (no pixel was changed), `not removed` (no significant fall), `reduced`, or `removed`.

    Removed: on lensed images the interval of the best fresh classifier holds chance, and so does that of the adversary
    trained on.
    """
    if found["psnr"] is None:
        return "unchanged"
    if found["fall_ci"][0] <= 0:
        return "not removed"
    lowest = max(found["lensed"]["ci"][0], found["lensed"].get("adversary_ci", [0.0])[0])
    return "removed" if lowest <= found["chance"] else "reduced"


def quality(test: Shown, seed: int) -> dict[str, Any]:
    """PSNR in dB from the pooled mean squared error, over all test images and over those with a planted cue, and SSIM.

    None where nothing changed (it would be infinite), or nothing is planted.
    """
    ones = np.ones(len(test.error))
    found: dict[str, Any] = {"psnr": measure.psnr(float(test.error.mean())), "ssim": float(test.ssim.mean())}
    low, high = measure.bootstrap(test.error, ones, test.group, seed)
    found["psnr_ci"] = [measure.psnr(high), measure.psnr(low)]
    carried = test.error[test.carries]
    planted = 0 < len(carried) < len(ones)
    found["psnr_planted"] = measure.psnr(float(carried.mean())) if planted else None
    found["psnr_by_source"] = [measure.psnr(float(test.error[test.source == k].mean())) for k in np.unique(test.source)]
    return found


# --- what it cost ----------------------------------------------------------------------------------------------------


def cost(players: Experiment, sets: dict[str, Shown], classes: int) -> dict[str, Any] | None:
    """Accuracy on class labels of classifiers trained and tested on raw, then on lensed images; `cost` is what is lost."""
    if any((part.label < 0).any() or len(np.unique(part.label)) < 2 for part in sets.values()):
        say("no downstream cost: not every image has a label")
        return None
    test = sets["test"]
    right: dict[str, list[Array]] = {}
    plateau: dict[str, list[bool]] = {}
    for kind in ("raw", "lensed"):
        pictures = {split: part.pictures(kind, "label") for split, part in sets.items()}
        judges = [
            judged(players, players.settings.judges[0], classes, pictures, seed, f"{kind}, class labels", flip=True)
            for seed in range(players.settings.removal_seeds)
        ]  # fmt: skip
        right[kind] = [(one.answers == test.label).astype(float) for one in judges]
        plateau[kind] = [one.plateau for one in judges]
    mean = {kind: np.mean(values, axis=0) for kind, values in right.items()}
    ones = np.ones(len(test.label))
    return {
        "raw": float(mean["raw"].mean()),
        "lensed": float(mean["lensed"].mean()),
        "cost": float((mean["raw"] - mean["lensed"]).mean()),
        "cost_ci": measure.bootstrap(mean["raw"] - mean["lensed"], ones, test.group, players.settings.seed),
        "seeds": {kind: [float(one.mean()) for one in values] for kind, values in right.items()},
        "plateau": plateau,
        "chance": measure.chance(test.label),
    }


def frozen(players: Experiment, sets: dict[str, Shown]) -> dict[str, Any] | None:
    """Linear accuracy on class labels of the trained extractor's frozen features, on raw and on lensed images.

    Beside it an untrained extractor's on raw images: the floor. None where not every image has a label.
    """
    if any((part.label < 0).any() or len(np.unique(part.label)) < 2 for part in sets.values()):
        return None
    labels = {split: part.label for split, part in sets.items()}
    raw, lensed = ({split: getattr(part, kind) for split, part in sets.items()} for kind in ("raw", "lensed"))
    return _linear(players, raw, lensed, labels, sets["test"].group)


def probed(players: Experiment, probe: Probe) -> dict[str, Any]:
    """The same on a probe's own images, to which nothing is planted, with what the lens changes there (PSNR)."""
    assert players.lens is not None
    players.lens.eval()
    settings, images = players.settings, probe.images
    limits = (settings.probe_images, settings.probe_test_images)
    splits = probe_splits(images, probe.source, probe.key, *limits, settings.seed)
    raw: dict[str, Array] = {}
    lensed: dict[str, Array] = {}
    change = []
    for split, index in splits.items():

        def batches(index: Array, through: bool) -> Iterator[Array]:
            for batch in players.batches(index, 256, images):
                views = centre(batch.images, settings.image_size)
                if through:
                    before, views = views, measure.to_8_bits(players.lensed(views, {}, players.draws(batch)))
                    change.append((views - before).square().mean(dim=(1, 2, 3)).cpu().numpy())
                yield _rows(views)

        with torch.no_grad():
            raw[split] = _stored(players, batches(index, False), len(index))
            lensed[split] = _stored(players, batches(index, True), len(index))
    labels = {split: images.label[index] for split, index in splits.items()}
    found = _linear(players, raw, lensed, labels, images.group[splits["test"]])
    return found | {"psnr": measure.psnr(float(np.concatenate(change).mean())), "source": probe.key}


def _linear(
    players: Experiment, raw: dict[str, Array], lensed: dict[str, Array], labels: dict[str, Array], group: Array
) -> dict[str, Any]:
    """Linear accuracies of frozen features: the trained extractor's on raw and lensed images, an untrained one's on raw."""
    torch.manual_seed(players.settings.seed)
    plain = dataclasses.replace(players.settings, pretrained=False)
    untrained = new_extractor(plain, players.task).to(players.fabric.device, next(players.extractor.parameters()).dtype)
    players.reestimate_statistics(untrained)
    found: dict[str, Any] = {}
    for name, extractor, images, statistics in (
        ("raw", players.extractor, raw, False), ("lensed", players.extractor, lensed, True), ("untrained", untrained, raw, False),
    ):  # fmt: skip
        read = {split: _features(players, extractor, rows, statistics) for split, rows in images.items()}
        how = linear.How(device=players.fabric.device)
        correct, _ = linear.fit(read, labels, players.settings.seed, how)["logistic"]
        found[name], found[f"{name}_ci"] = measure.proportion(correct.astype(float), np.ones(len(group)), group)
    return found | {"chance": measure.chance(labels["test"])}


@torch.no_grad()
def _features(players: Experiment, extractor: Extractor, images: Array, lensed_statistics: bool) -> Array:
    """Pooled features (n, F) of images (n, H, W, C) uint8."""
    extractor.eval()

    def batches() -> Iterator[Array]:
        for start in range(0, len(images), 256):
            rows = torch.from_numpy(np.ascontiguousarray(images[start : start + 256])).to(players.fabric.device)
            inputs = players.task.prepare(rows.permute(0, 3, 1, 2).float() / 255)
            inputs = inputs.to(next(extractor.parameters()).dtype)
            with players.fabric.autocast(), extractor.statistics(lensed_statistics):
                yield measure.pooled(extractor.features(inputs).float(), len(rows)).cpu().numpy()

    return gathered(batches(), len(images), cache_folder(players.settings))


# --- pictures --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def examples(players: Experiment, each: int = 5) -> dict[str, Array]:
    """Some test images of every source, raw and lensed (K, each, H, W, C) uint8, and each source's mean edit map (K, H, W).

    The map is the mean squared error over channels and over up to 512 test images of the source.
    """
    assert players.lens is not None
    players.lens.eval()
    found: dict[str, list[Array]] = {"raw": [], "lensed": [], "map": []}
    for source in range(len(players.images.keys)):
        index = some(players.images.indices("test", source), 512, players.settings.seed, "removal pictures")
        kept: dict[str, list[Array]] = {"raw": [], "lensed": []}
        total: Array | float = 0.0
        for batch in players.batches(index, 128):
            views, question, _ = players.views(batch, training=False)
            raw = measure.to_8_bits(views)
            lensed = measure.to_8_bits(players.lensed(raw, question, players.draws(batch)))
            total = total + (lensed - raw).square().mean(dim=1).sum(dim=0).double().cpu().numpy()
            for kind, images in (("raw", raw), ("lensed", lensed)):
                kept[kind].append(_rows(images[:each]).reshape(-1, *images.shape[2:], 3))
        for kind, rows in kept.items():
            found[kind].append(np.concatenate(rows)[:each])
        found["map"].append(np.asarray(total) / len(index))
    shown = min(len(rows) for rows in found["raw"])
    return {
        kind: np.stack([rows[:shown] if kind != "map" else rows for rows in parts]) for kind, parts in found.items()
    }


# --- images in files -------------------------------------------------------------------------------------------------


def _rows(views: Tensor) -> Array:
    """Images (B, C, H, W) on 8-bit levels of [0, 1] → uint8 rows (B, H·W·C)."""
    pixels: Array = (views * 255).round().byte().permute(0, 2, 3, 1).reshape(len(views), -1).cpu().numpy()
    return pixels


def _stored(players: Experiment, batches: Iterator[Array], count: int) -> Array:
    """Rows of pixels as images (n, H, W, C) uint8: in memory, or where there are many in a file without a name."""
    side = players.settings.image_size
    return gathered(batches, count, cache_folder(players.settings), PIXELS).reshape(count, side, side, 3)
