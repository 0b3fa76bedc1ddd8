"""Held-out measurements of a trained pair: pretext accuracies, what the lens changed, downstream probes, edits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lens import data, feature_store, layers, linear, measure, networks
from lens.augment import centre
from lens.cache import default_cache_dir
from lens.draws import generator
from lens.experiment import Experiment, load_images, new_extractor
from lens.protocols import BadInput, Question, Task, trait
from lens.rivals import Rival
from lens.settings import Settings
from lens.terminal import say

Array = np.ndarray[Any, Any]
DEFAULT = linear.How()
MAP_IMAGES = 1280
"""Images that the mean edit map averages over (Minderer et al. 2020, figure 3)."""


def some(index: Array, limit: int | None, seed: int, name: str) -> Array:
    """At most `limit` of the indices, chosen at random once and for all, in order: files lie sorted by class."""
    if limit is None or len(index) <= limit:
        return index
    order = torch.randperm(len(index), generator=generator(seed, 0, name)).numpy()
    return np.sort(index[order[:limit]])


@dataclasses.dataclass
class Pretext:
    """Sums per image over a split. `score` counts correct answers; of a task that has none it adds up losses.

    `chance` is the share of answers that knowing nothing gets right, None of losses. `change` is the squared error before
    it is rounded to 8 bits: what training sees.
    """

    score: dict[str, Array]
    loss: dict[str, Array]
    chance: float | None
    count: Array
    loss_count: Array
    squared_error: Array
    change: Array
    planted_squared_error: Array
    planted_views: Array
    ssim: Array
    group: Array
    views: int


@torch.no_grad()
def pretext(
    experiment: Experiment,
    index: Array,
    with_ssim: bool = True,
    by: Experiment | None = None,
    lensed_statistics: bool = True,
) -> Pretext:
    """Ask the task about the images at `index`: `raw` (planted), `lensed` (the same, lensed at 8 bits), `clean`.

    Clean and raw are the same views where nothing is planted, and are then asked once. The lens is that of `by`, another
    run's players, where they are given; `lensed_statistics` tells which set of batch-norm statistics is asked about
    lensed views.
    """
    by = by or experiment
    parts: list[dict[str, Tensor]] = []
    answers: list[Tensor] = []
    task, lens, extractor = experiment.task, by.lens, experiment.extractor
    extractor.eval()
    if lens is not None:
        lens.eval()
    # A choice of two is one between neighbours in a batch: every number of ranks must cut the same batches.
    size = max(1, 128 // task.views)
    share = experiment.ranks.share(index, size if task.classes is None else 1)
    for batch in experiment.batches(share, size):
        count = len(batch.index)

        def per_image(values: Tensor, count: int = count) -> Tensor:
            return values.double().reshape(count, -1).sum(dim=1)

        def ask(kind: str, views: Tensor, question: Question, lensed: bool, part: dict[str, Tensor]) -> None:
            with experiment.fabric.autocast():
                outputs = extractor(task.present(views, question), question, lensed=lensed)
            outputs = outputs.float()
            loss = task.loss(outputs, question)
            score = _score(task, outputs, question)
            score = loss if score is None else score
            part[kind], part[f"{kind} loss"] = per_image(score), per_image(loss)
            part["count"], part["loss count"] = per_image(torch.ones_like(score)), per_image(torch.ones_like(loss))

        views, question, carriers = experiment.views(batch, training=False)
        part: dict[str, Tensor] = {}
        ask("raw", views, question, False, part)
        if task.classes is not None and not trait(task, "balanced"):
            answers.append(torch.bincount(question["target"].cpu(), minlength=task.classes))
        part["clean"], part["clean loss"] = part["raw"], part["raw loss"]
        if experiment.shortcut.plants:
            clean_views, clean_question, _ = experiment.views(batch, training=False, planted=False)
            ask("clean", clean_views, clean_question, False, part)
        if lens is not None:
            exact = by.lensed(views, question, experiment.draws(batch))
            part["change"] = per_image((exact - views).square().mean(dim=(1, 2, 3)))
            lensed = measure.to_8_bits(exact)
            ask("lensed", lensed, question, lensed_statistics, part)
            error = (lensed - views).square().mean(dim=(1, 2, 3))
            part["error"], part["planted_error"] = per_image(error), per_image(error * carriers)
            part["planted"] = per_image(carriers.float())
            if with_ssim:
                part["ssim"] = per_image(measure.ssim(views.contiguous(), lensed.contiguous()))
        parts.append({name: value.cpu() for name, value in part.items()})

    # In the ranks' order, which is the index's; a rank without images has no parts.
    every = [part for parts in experiment.ranks.everyone(parts) for part in parts]

    def joined(name: str) -> Array:
        return torch.cat([part[name] for part in every]).numpy() if name in every[0] else np.zeros(len(index))

    kinds = ("raw", "lensed", "clean") if lens is not None else ("raw", "clean")
    counts = [count for counted in experiment.ranks.everyone(answers) for count in counted]
    return Pretext(
        {kind: joined(kind) for kind in kinds}, {kind: joined(f"{kind} loss") for kind in kinds}, _chance(task, counts),
        joined("count"), joined("loss count"), joined("error"), joined("change"), joined("planted_error"), joined("planted"), joined("ssim"),
        experiment.images.group[index], task.views,
    )  # fmt: skip


def _score(task: Task, outputs: Tensor, question: Question) -> Tensor | None:
    """1 for each right answer, 0 for each wrong one (E,); None where a task has neither classes nor a choice of two."""
    if task.classes is not None:
        return (task.logits(outputs).argmax(dim=1) == question["target"]).float()
    correct = getattr(task, "correct", None)
    return None if correct is None else correct(outputs, question)


def _chance(task: Task, counts: list[Tensor]) -> float | None:
    """What knowing nothing gets right: 1/K, the share of the most frequent class, or one of two."""
    if task.classes is None:
        return 0.5 if hasattr(task, "correct") else None
    if not counts:
        return 1 / task.classes
    total = torch.stack(counts).sum(dim=0)
    return float(total.max() / total.sum())


def pretext_summary(result: Pretext, seed: int) -> dict[str, Any]:
    """Accuracies (or mean losses) with 95 % intervals, and the paired gap between raw and lensed.

    The `loss` of each kind stands beside its accuracy; of a task without an accuracy it is the metric.
    """
    accuracy = result.chance is not None
    summary: dict[str, Any] = {"metric": "accuracy" if accuracy else "loss", "images": len(result.group)}
    summary["chance"] = result.chance
    summary["loss"] = {kind: float(loss.sum() / result.loss_count.sum()) for kind, loss in result.loss.items()}
    for kind in ("raw", "lensed", "clean"):
        if kind not in result.score:
            summary[kind] = summary[f"{kind}_ci"] = None
        elif accuracy:
            summary[kind], summary[f"{kind}_ci"] = measure.proportion(result.score[kind], result.count, result.group)
        else:
            summary[kind] = float(result.score[kind].sum() / result.count.sum())
            summary[f"{kind}_ci"] = measure.bootstrap(result.score[kind], result.count, result.group, seed)
    summary["gap"] = summary["gap_ci"] = None
    if "lensed" in result.score:
        difference = result.score["raw"] - result.score["lensed"]
        summary["gap"] = float(difference.sum() / result.count.sum())
        summary["gap_ci"] = measure.bootstrap(difference, result.count, result.group, seed)
    return summary


def reconstruction_summary(result: Pretext, seed: int) -> dict[str, Any]:
    """What the lens changed, at 8 bits: pooled mean squared error, PSNR in dB and SSIM, each with a 95 % interval.

    Error and PSNR are over the views that carry the planted cue, where some do; `all_psnr` and SSIM are over every view.
    """
    if "lensed" not in result.score:
        return {"mse": None, "psnr": None, "psnr_ci": None, "ssim": None, "ssim_ci": None, "all_psnr": None}
    every = np.full(len(result.group), float(result.views))
    planted = bool(result.planted_views.sum())
    error, views = (result.planted_squared_error, result.planted_views) if planted else (result.squared_error, every)
    mse = float(error.sum() / views.sum())
    low, high = measure.bootstrap(error[views > 0], views[views > 0], result.group[views > 0], seed)
    return {
        "mse": mse,
        "mse_ci": [low, high],
        "psnr": measure.psnr(mse),
        "psnr_ci": [measure.psnr(high), measure.psnr(low)],
        "ssim": float(result.ssim.sum() / every.sum()),
        "ssim_ci": measure.bootstrap(result.ssim, every, result.group, seed),
        "all_psnr": measure.psnr(float(result.squared_error.sum() / every.sum())),
    }


@torch.no_grad()
def features(
    experiment: Experiment,
    extractor: networks.Extractor,
    images: data.Images,
    index: Array,
    lensed_statistics: bool = False,
    read: Callable[[Tensor], Tensor] | None = None,
) -> Array:
    """Frozen features (n, F) of unlensed, unplanted images, with the raw set of statistics (or the lensed one).

    They are the extractor's pooled output, or what `read` makes of its input. One process keeps many of them in a file
    (`feature_store`). Of several, each rank has its share of them; rank 0 gets them all, in the index's order, and the others nothing (0, 0).
    """
    extractor.eval()
    read = read or extractor.features

    def batches() -> Iterator[Array]:
        for batch in experiment.batches(experiment.ranks.share(index), 128, images):
            inputs = experiment.task.prepare(centre(batch.images, experiment.settings.image_size))
            inputs = inputs.to(next(extractor.parameters()).dtype)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with experiment.fabric.autocast(), extractor.statistics(lensed_statistics):
                pooled = measure.pooled(read(inputs).float(), len(batch.index))
            yield pooled.cpu().numpy()

    if experiment.ranks.world == 1:
        return feature_store.gathered(batches(), len(index), cache_folder(experiment.settings))
    gathered = experiment.ranks.collect(list(batches()))
    return np.concatenate([part for parts in gathered for part in parts]) if gathered else np.zeros((0, 0))


def cache_folder(settings: Settings) -> Path:
    """Where decoded images are kept, and features while they are probed."""
    return Path(settings.cache_dir) if settings.cache_dir else default_cache_dir()


def thumbnails(experiment: Experiment, images: data.Images, index: Array) -> Array:
    """Images shrunk to 12×12 pixels (n, 432): what a probe reads without any extractor."""

    def batches() -> Iterator[Array]:
        for batch in experiment.batches(index, 512, images):
            small = functional.adaptive_avg_pool2d(centre(batch.images, experiment.settings.image_size), 12)
            yield small.flatten(1).cpu().numpy()

    return feature_store.gathered(batches(), len(index), cache_folder(experiment.settings))


def probe_splits(images: data.Images, source: int, key: str, limit: int | None, seed: int) -> dict[str, Array]:
    """The indices of a labelled source's splits, train cut to `limit` images at random.

    Raises BadInput where a probe has nothing to learn: no labels, one class, an empty split.
    """
    if not images.classes[source]:
        raise BadInput(f"a probe needs labels and {key} has none: give another --probe")
    splits = {split: images.indices(split, source) for split in data.SPLITS}
    for split, index in splits.items():
        present = len(np.unique(images.label[index]))
        if len(index) == 0 or (split == "train" and present < 2):
            what = "no images" if len(index) == 0 else "one class"
            raise BadInput(f"a probe needs two classes and {key} has {what} in its {split} split: give another --probe")
    splits["train"] = some(splits["train"], limit, seed, "probe")
    return splits


def downstream(
    experiment: Experiment,
    images: data.Images,
    source: int,
    key: str,
    how: linear.How = DEFAULT,
    layer: Sequence[str] = (),
) -> dict[str, Any]:
    """Linear and k-NN accuracy of the frozen features on a labelled source, each with its 95 % interval.

    Beside them two floors with the same probe: an untrained extractor's features, and 12×12 pixels. Then the linear
    accuracy of the inner layers that `layer` names ("all" for each of them), and of the same layers untrained.
    """
    settings = experiment.settings
    how = dataclasses.replace(how, device=experiment.fabric.device)
    splits = probe_splits(images, source, key, settings.probe_images, settings.seed)
    for split in ("val", "test"):
        splits[split] = some(splits[split], settings.probe_test_images, settings.seed, f"probe {split}")
    labels = {split: images.label[index] for split, index in splits.items()}
    group = images.group[splits["test"]]
    ones = np.ones(len(group))

    def extracted(extractor: networks.Extractor, lensed_statistics: bool = False) -> dict[str, Array]:
        return {s: features(experiment, extractor, images, index, lensed_statistics) for s, index in splits.items()}

    def inner(extractor: networks.Extractor) -> dict[str, dict[str, Array]]:
        names = layers.choose(extractor.backbone, list(layer), settings.extractor)
        read = layers.Reader(extractor.backbone, names)
        found = {s: features(experiment, extractor, images, index, read=read) for s, index in splits.items()}
        return {name: {s: x[:, columns] for s, x in found.items()} for name, columns in read.columns.items()}

    # Every rank takes its share of the features; the probes are fitted on rank 0.
    trained = extracted(experiment.extractor)
    torch.manual_seed(settings.seed)
    untrained = new_extractor(dataclasses.replace(settings, pretrained=False), experiment.task).to(
        experiment.fabric.device, next(experiment.extractor.parameters()).dtype
    )
    experiment.reestimate_statistics(untrained)
    floor = extracted(untrained)
    with_lensed_statistics = experiment.lensed_statistics_only and bool(experiment.extractor.norms)
    lensed_statistics = extracted(experiment.extractor, True) if with_lensed_statistics else None
    inner_trained, inner_untrained = (inner(x) if layer else {} for x in (experiment.extractor, untrained))
    if not experiment.ranks.writes:
        return {}
    result: dict[str, Any] = {}

    def fitted(into: dict[str, Any], name: str, found: dict[str, Array]) -> dict[str, Any]:
        fits = linear.fit(found, labels, settings.seed, how)
        for method, (correct, _) in fits.items():
            key = linear.keyed(name, method)
            into[key], into[f"{key}_ci"] = measure.proportion(correct.astype(float), ones, group)
        return {linear.keyed("fit", method): fit for method, (_, fit) in fits.items()}

    fit = fitted(result, "linear", trained)
    nearest = measure.knn_probe(trained, labels, how.device)
    result["knn"], result["knn_ci"] = measure.proportion(nearest.astype(float), ones, group)
    fitted(result, "untrained", floor)
    fitted(result, "pixels", {split: thumbnails(experiment, images, index) for split, index in splits.items()})
    if lensed_statistics is not None:
        fitted(result, "linear_lensed_statistics", lensed_statistics)
    result["chance"] = measure.chance(labels["test"])
    sizes = {"n_train": len(labels["train"]), "n_test": len(labels["test"])}
    for name, found in inner_trained.items():
        part: dict[str, Any] = {"features": found["train"].shape[1], **sizes}
        part |= fitted(part, "linear", found)
        fitted(part, "untrained", inner_untrained[name])
        result.setdefault("layers", {})[name] = part
    return result | sizes | fit


def _first_views(experiment: Experiment, batch: data.Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The first view of each image (upright, for rotation): clean, planted where a cue is, lensed; (B, C, H, W) each."""
    every = experiment.task.views
    clean, _, _ = experiment.views(batch, training=False, planted=False)
    views, question, _ = experiment.views(batch, training=False)
    if isinstance(experiment.lens, Rival):  # FGSM asks the question, which need not be cut by views
        lensed = experiment.lensed(views, question, experiment.draws(batch))[::every]
    else:
        lensed = experiment.lensed(
            views[::every].contiguous(memory_format=torch.channels_last), question, experiment.draws(batch)
        )
    return clean[::every], views[::every], measure.to_8_bits(lensed)


@torch.no_grad()
def edits(experiment: Experiment, shown: int = 8) -> dict[str, Array]:
    """The lens's edits of upright held-out images: some pictures (uint8, NHWC), the mean image and edit map.

    The map is the mean over up to 1,280 test images of the per-pixel squared error, averaged over channels.
    """
    assert experiment.lens is not None
    experiment.lens.eval()
    experiment.extractor.eval()
    index = experiment.images.indices("test")
    order = torch.randperm(len(index), generator=generator(experiment.settings.seed, 0, "pictures")).numpy()
    chosen = index[order[:MAP_IMAGES]]
    total: Tensor | None = None
    mean_image: Tensor | None = None
    pictures: dict[str, list[Array]] = {"clean": [], "original": [], "lensed": []}
    for batch in experiment.batches(chosen, 64):
        clean, images, lensed = _first_views(experiment, batch)
        error = (lensed - images).square().mean(dim=1).double().sum(dim=0).cpu()
        total = error if total is None else total + error
        image = images.double().sum(dim=0).cpu()
        mean_image = image if mean_image is None else mean_image + image
        have = len(pictures["clean"])
        for name, tensor in (("clean", clean), ("original", images), ("lensed", lensed)):
            pixels = (tensor[: shown - have].permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
            pictures[name] += list(pixels)
    assert total is not None
    assert mean_image is not None
    arrays = {name: np.stack(values) for name, values in pictures.items()}
    return arrays | {
        "map": (total / len(chosen)).numpy(),
        "mean_image": (mean_image / len(chosen)).permute(1, 2, 0).numpy(),
        "map_images": np.array(len(chosen)),
        "by": np.array(experiment.settings.adversary if isinstance(experiment.lens, Rival) else "lensed"),
    }


def merge_downstream(earlier: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add new probes to earlier ones; another source of the same short name goes under its whole path.

    What was measured on the same images and is not measured now (another method, other layers) stays.
    """
    merged = dict(earlier)
    for name, part in new.items():
        clash = name in earlier and earlier[name].get("source") != part["source"]
        place = part["source"] if clash else name
        merged[place] = _beside(merged.get(place, {}), part)
    return merged


def _beside(before: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if any(before.get(key) != part.get(key) for key in ("source", "n_train", "n_test", "control_run")):
        return part
    joined = before | part
    for key in ("layers", "fusion"):
        if key in before and key in part:
            joined[key] = before[key] | {name: _beside(before[key].get(name, {}), x) for name, x in part[key].items()}
    return joined


@dataclasses.dataclass(frozen=True)
class Probe:
    """A labelled source that a probe is fitted on: the images it lies in, and which source of them it is."""

    key: str
    images: data.Images
    source: int


def load_probes(
    settings: Settings,
    keys: list[str],
    images: data.Images,
    image_column: str | None = None,
    label_column: str | None = None,
) -> list[Probe]:
    """The sources that `keys` name (--probe), else the training sources that a probe can be fitted on.

    Loaded before training, so that a source that cannot be read is refused in the first minute and not in the last.
    """
    if not keys:
        probes = []
        for number, key in enumerate(images.keys):
            if not images.classes[number]:
                continue
            try:
                probe_splits(images, number, key, None, 0)
            except BadInput as error:
                say(f"no probe on {key}: {error}")
            else:
                probes.append(Probe(key, images, number))
        return probes
    probes = []
    for key in keys:
        asked = image_column or label_column
        known = images.keys.index(key) if key in images.keys and not asked else None
        where = images if known is not None else load_images(settings, [key], image_column, label_column)
        probes.append(Probe(key, where, known or 0))
        probe_splits(where, known or 0, key, None, 0)
    return probes


def short_names(probes: list[Probe]) -> list[str]:
    """What the probes are called in a summary: a path by its last part, by the whole where two share that."""
    short = [Path(probe.key).name if "/" in probe.key else probe.key for probe in probes]
    return [probe.key if short.count(name) > 1 else name for name, probe in zip(short, probes, strict=True)]


def everything(
    experiment: Experiment, probes: list[Probe], how: linear.How = DEFAULT, layer: Sequence[str] = ()
) -> dict[str, Any]:
    """The measured part of summary.json: pretext, reconstruction and downstream, all on test splits."""
    settings = experiment.settings
    index = some(experiment.images.indices("test"), settings.test_images, settings.seed, "test")
    result = pretext(experiment, index)
    found = {
        "pretext": pretext_summary(result, settings.seed),
        "reconstruction": reconstruction_summary(result, settings.seed),
    }
    # The pretext sums on the lensed statistics, where training only ever updated those.
    if experiment.lensed_statistics_only and experiment.extractor.norms:
        with experiment.extractor.statistics(True):
            other = pretext_summary(pretext(experiment, index, with_ssim=False), settings.seed)
        found["pretext"]["lensed_statistics"] = {kind: other[kind] for kind in ("raw", "raw_ci", "clean", "clean_ci")}
    found["downstream"] = {
        name: downstream(experiment, probe.images, probe.source, probe.key, how, layer) | {"source": probe.key}
        for name, probe in zip(short_names(probes), probes, strict=True)
    }
    return found
