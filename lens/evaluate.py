"""Held-out measurements of a trained pair: pretext accuracies, what the lens changed, downstream probes, edits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens import data, linear, measure
from lens.downstream import DEFAULT, Probe, downstream
from lens.draws import generator
from lens.experiment import Experiment
from lens.protocols import Question, Task, short_names, trait
from lens.rivals import Rival

Array = np.ndarray[Any, Any]
MAP_IMAGES = 1280
"""Images that the mean edit map averages over (Minderer et al. 2020, figure 3)."""


@dataclasses.dataclass
class Pretext:
    """Sums per image over a split. `score` counts correct answers; of a task that has none it adds up losses.

    `chance` is the share of answers that knowing nothing gets right, None of losses. `change` is the squared error before
    it is rounded to 8 bits: what training sees. `source` is each image's, where accuracies and losses are means over the
    sources' own (balanced accuracy, whatever their sizes); None where they are over images.
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
    source: Array | None = None

    def mean(self, values: Array, count: Array) -> float:
        """The sum of the images' values over the sum of their counts; where sources count equally, the mean of theirs."""
        if self.source is None:
            return float(values.sum() / count.sum())
        _, member = np.unique(self.source, return_inverse=True)
        return float((np.bincount(member, values) / np.bincount(member, count)).mean())

    def proportion(self, correct: Array) -> tuple[float, list[float]]:
        """The accuracy and its 95 % interval."""
        if self.source is None:
            return measure.proportion(correct, self.count, self.group)
        return measure.balanced_accuracy(correct, self.count, self.source, self.group)

    def bootstrap(self, values: Array, seed: int) -> list[float]:
        """The 95 % interval of the mean of the images' values a count."""
        return measure.bootstrap(values, self.count, self.group, seed, stratum=self.source)


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
    # Where examples of a batch depend on each other every number of ranks must cut the same batches.
    size = max(1, 128 // task.views)
    share = experiment.ranks.share(index, size if task.classes is None or trait(task, "couples") else 1)
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
        experiment.images.group[index], task.views, experiment.images.source[index] if experiment.by_source else None,
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
    summary["loss"] = {kind: result.mean(loss, result.loss_count) for kind, loss in result.loss.items()}
    for kind in ("raw", "lensed", "clean"):
        if kind not in result.score:
            summary[kind] = summary[f"{kind}_ci"] = None
        elif accuracy:
            summary[kind], summary[f"{kind}_ci"] = result.proportion(result.score[kind])
        else:
            summary[kind] = result.mean(result.score[kind], result.count)
            summary[f"{kind}_ci"] = result.bootstrap(result.score[kind], seed)
    summary["gap"] = summary["gap_ci"] = None
    if "lensed" in result.score:
        difference = result.score["raw"] - result.score["lensed"]
        summary["gap"] = result.mean(difference, result.count)
        summary["gap_ci"] = result.bootstrap(difference, seed)
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


def _first_views(experiment: Experiment, batch: data.Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first view of each image (upright, for rotation): clean, planted where a cue is, lensed; (B, C, H, W) each.

    The last one is lensed without the lens's own noise: the same for all places, it would only level a map of edits.
    """
    every = experiment.task.views
    clean, _, _ = experiment.views(batch, training=False, planted=False)
    views, question, _ = experiment.views(batch, training=False)
    if isinstance(experiment.lens, Rival):  # FGSM asks the question, which need not be cut by views
        lensed = experiment.lensed(views, question, experiment.draws(batch))[::every]
    else:
        first = views[::every].contiguous(memory_format=torch.channels_last)
        draws = batch.draws(experiment.settings.seed)
        lensed = experiment.lensed(first, question, draws)
    quiet = lensed
    if experiment.settings.lens_noise and not isinstance(experiment.lens, Rival):
        quiet = experiment.lensed(first, question, draws, noisy=False)
    return clean[::every], views[::every], measure.to_8_bits(lensed), measure.to_8_bits(quiet)


@torch.no_grad()
def edits(experiment: Experiment, shown: int = 8) -> dict[str, Array]:
    """The lens's edits of upright held-out images: some pictures (uint8, NHWC), the mean image and edit map.

    The map is the mean over up to 1,280 test images of the per-pixel squared error, averaged over channels,
    without the lens's own noise.
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
        clean, images, lensed, quiet = _first_views(experiment, batch)
        error = (quiet - images).square().mean(dim=1).double().sum(dim=0).cpu()
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


def everything(
    experiment: Experiment, probes: list[Probe], how: linear.How = DEFAULT, layer: Sequence[str] = ()
) -> dict[str, Any]:
    """The measured part of summary.json: pretext, reconstruction and downstream, all on test splits."""
    settings = experiment.settings
    index = experiment.held_out("test")
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
        for name, probe in zip(short_names([probe.key for probe in probes]), probes, strict=True)
    }
    return found
