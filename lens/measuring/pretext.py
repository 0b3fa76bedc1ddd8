"""How a task fares on held-out images, raw, lensed and clean: accuracies or losses, with their intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.intervals import Interval
from lens.measuring import proportions, resampling
from lens.measuring.edits import Edits
from lens.operations import quality
from lens.players.players import Players
from lens.protocols.task import Question, Task
from lens.results.figure import Estimate
from lens.results.pretext import Pretext, Unlensed
from lens.results.validation import Validation

Array = np.ndarray[Any, Any]
OTHER = " on lensed statistics"
"""What is added to a kind of view where the lensed set of batch-norm statistics was asked about unlensed ones."""


@dataclasses.dataclass
class Answers:
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

    def proportion(self, correct: Array) -> tuple[float, Interval]:
        """The accuracy and its 95 % interval."""
        if self.source is None:
            return proportions.proportion(correct, self.count, self.group)
        return proportions.balanced_accuracy(correct, self.count, self.source, self.group)

    def bootstrap(self, values: Array, seed: int) -> Interval:
        """The 95 % interval of the mean of the images' values a count."""
        return resampling.bootstrap(values, self.count, self.group, seed, stratum=self.source)


@torch.no_grad()
def measured(
    players: Players,
    index: Array,
    with_ssim: bool = True,
    by: Players | None = None,
    lensed_statistics: bool = True,
    other_statistics: bool = False,
    edits: Edits | None = None,
    asked: Callable[[int], None] = lambda more: None,
) -> Answers:
    """Ask the task about the images at `index`: `raw` (planted), `lensed` (the same, lensed at 8 bits), `clean`.

    Clean and raw are the same views where nothing is planted, and are then asked once. The lens is that of `by`, another
    run's players, where they are given; `lensed_statistics` tells which set of batch-norm statistics is asked about
    lensed views; with `other_statistics` raw and clean are asked with the lensed set too (`OTHER`).
    `edits` collects what the lens does to those of the images that it wants; `asked` is told how many more images were asked about.
    """
    by = by or players
    parts: list[dict[str, Tensor]] = []
    answers: list[Tensor] = []
    task, lens, extractor = players.task, by.lens, players.extractor
    extractor.eval()
    if lens is not None:
        lens.eval()
    # Where examples of a batch depend on each other every number of ranks must cut the same batches.
    size = max(1, 128 // task.views)
    share = players.ranks.share(index, size if task.classes is None or task.couples else 1)
    for batch in players.batches(share, size):
        count = len(batch.index)

        def per_image(values: Tensor, count: int = count) -> Tensor:
            return values.double().reshape(count, -1).sum(dim=1)

        def ask(kind: str, views: Tensor, question: Question, lensed: bool, part: dict[str, Tensor]) -> None:
            with players.fabric.autocast():
                outputs = extractor(task.present(views, question), question, lensed=lensed)
            outputs = outputs.float()
            loss = task.loss(outputs, question)
            score = _score(task, outputs, question)
            score = loss if score is None else score
            part[kind], part[f"{kind} loss"] = per_image(score), per_image(loss)
            part["count"], part["loss count"] = per_image(torch.ones_like(score)), per_image(torch.ones_like(loss))

        views, question, carriers = players.views(batch, training=False)
        part: dict[str, Tensor] = {}
        ask("raw", views, question, False, part)
        if other_statistics:
            ask(f"raw{OTHER}", views, question, True, part)
        if task.classes is not None and not task.balanced:
            answers.append(torch.bincount(question["target"].cpu(), minlength=task.classes))
        for kind in ("", OTHER) if other_statistics else ("",):
            part[f"clean{kind}"], part[f"clean{kind} loss"] = part[f"raw{kind}"], part[f"raw{kind} loss"]
        clean_views = views
        if players.shortcut.plants:
            clean_views, clean_question, _ = players.views(batch, training=False, planted=False)
            ask("clean", clean_views, clean_question, False, part)
            if other_statistics:
                ask(f"clean{OTHER}", clean_views, clean_question, True, part)
        if lens is not None:
            exact, quiet = by.lensed_and_quiet(views, question, players.draws(batch))
            part["change"] = per_image((exact - views).square().mean(dim=(1, 2, 3)))
            lensed = quality.to_8_bits(exact)
            ask("lensed", lensed, question, lensed_statistics, part)
            error = (lensed - views).square().mean(dim=(1, 2, 3))
            part["error"], part["planted_error"] = per_image(error), per_image(error * carriers)
            part["planted"] = per_image(carriers.float())
            if with_ssim:
                part["ssim"] = per_image(quality.ssim(views.contiguous(), lensed.contiguous()))
            if edits is not None:
                edits.add(batch.index, clean_views, views, exact, quiet)
        parts.append({name: value.cpu() for name, value in part.items()})
        asked(count * players.ranks.world)

    # In the ranks' order, which is the index's; a rank without images has no parts.
    every = [part for parts in players.ranks.everyone(parts) for part in parts]

    def joined(name: str) -> Array:
        return torch.cat([part[name] for part in every]).numpy() if name in every[0] else np.zeros(len(index))

    kinds = ["raw", "lensed", "clean"] if lens is not None else ["raw", "clean"]
    kinds += [f"raw{OTHER}", f"clean{OTHER}"] if other_statistics else []
    counts = [count for counted in players.ranks.everyone(answers) for count in counted]
    return Answers(
        {kind: joined(kind) for kind in kinds}, {kind: joined(f"{kind} loss") for kind in kinds}, _chance(task, counts),
        joined("count"), joined("loss count"), joined("error"), joined("change"), joined("planted_error"), joined("planted"), joined("ssim"),
        players.images.group[index], task.views, players.images.source[index] if players.by_source else None,
    )  # fmt: skip


def _score(task: Task, outputs: Tensor, question: Question) -> Tensor | None:
    """1 for each right answer, 0 for each wrong one (E,); None where a task has neither classes nor a choice of two."""
    if task.classes is not None:
        return (task.logits(outputs).argmax(dim=1) == question["target"]).float()
    chosen: Tensor | None = None if task.correct is None else task.correct(outputs, question)
    return chosen


def _chance(task: Task, counts: list[Tensor]) -> float | None:
    """What knowing nothing gets right: 1/K, the share of the most frequent class, or one of two."""
    if task.classes is None:
        return None if task.correct is None else 0.5
    if not counts:
        return 1 / task.classes
    total = torch.stack(counts).sum(dim=0)
    return float(total.max() / total.sum())


def summary(result: Answers, seed: int) -> Pretext:
    """Accuracies (or mean losses) with 95 % intervals, and the paired gap between raw and lensed.

    The `loss` of each kind stands beside its accuracy; of a task without an accuracy it is the metric.
    """
    own = {kind: loss for kind, loss in result.loss.items() if not kind.endswith(OTHER)}
    kinds: dict[str, Any] = {kind: _estimate(result, kind, seed) for kind in ("raw", "lensed", "clean")}
    found = Pretext(
        metric="loss" if result.chance is None else "accuracy",
        images=len(result.group),
        chance=result.chance,
        loss={kind: result.mean(loss, result.loss_count) for kind, loss in own.items()},
        **kinds,
        gap=_gap(result, seed),
    )
    if f"raw{OTHER}" not in result.score:
        return found
    kinds = {kind: _estimate(result, f"{kind}{OTHER}", seed) for kind in ("raw", "clean")}
    return dataclasses.replace(found, lensed_statistics=Unlensed(**kinds))


def _estimate(result: Answers, kind: str, seed: int) -> Estimate:
    """The accuracy, or the mean loss, on one kind of views; nothing where they were not asked about."""
    if kind not in result.score:
        return Estimate(None)
    if result.chance is not None:
        return Estimate(*result.proportion(result.score[kind]))
    return Estimate(result.mean(result.score[kind], result.count), result.bootstrap(result.score[kind], seed))


def _gap(result: Answers, seed: int) -> Estimate:
    """What is lost from raw to lensed views, image by image."""
    if "lensed" not in result.score:
        return Estimate(None)
    difference = result.score["raw"] - result.score["lensed"]
    return Estimate(result.mean(difference, result.count), result.bootstrap(difference, seed))


def validation(players: Players, metrics: Sequence[dict[str, Any]], step: int | None) -> Validation | None:
    """What the task was asked about validation images at a step, to choose by: a line of metrics.jsonl, of its weights.

    It is of as many images as --val_images allows (`images` of `of_images`); None where there is no such line. Accuracies
    in [0, 1] or losses, as in `summary`; `psnr` in dB and `ssim` at 8 bits over every view. Nothing is measured here.
    """
    line = next((line for line in reversed(metrics) if line["kind"] == "val" and line["step"] == step), None)
    if line is None:
        return None
    found: dict[str, Any] = {
        name: line.get(name) for name in ("raw", "lensed", "clean", "psnr", "psnr_planted", "ssim")
    }
    found["gap"] = None if found["lensed"] is None else found["raw"] - found["lensed"]
    images, of_images = len(players.held_out("val")), len(players.images.indices("val"))
    return Validation(**found, images=images, of_images=of_images)
