"""The players of a run with all that they play with: the images, the task, the shortcut."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor

from lens.base.draws import EVALUATION, Draws
from lens.base.ranks import Ranks
from lens.images import batching, data
from lens.images.augment import augment, centre
from lens.images.mixing import Mixing
from lens.images.planting import plant
from lens.images.rand_augment import rand_augment
from lens.players.extractor import Extractor, reestimate_statistics
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens
from lens.players.rivals import Rival
from lens.protocols.shortcut import Shortcut
from lens.protocols.task import Question, Task
from lens.settings.run_settings import Settings

STATISTICS_BATCHES = 24
"""Batches of 64 views on which the raw set of batch-norm statistics is re-estimated."""


@dataclasses.dataclass
class Players:
    """The parts of a run. `lens` is what changes the views: the lens, a rival of it, or None under `--lens none`."""

    settings: Settings
    task: Task
    shortcut: Shortcut
    images: data.Images
    extractor: Extractor
    lens: LearnedLens | FixedLens | Rival | None
    fabric: lightning_fabric.Fabric
    ranks: Ranks
    mixing: Mixing
    answers: Tensor | None = None
    """Each image's answer (n,) int64 on the device, where the task takes it from the data."""
    carried: Tensor | None = None
    """The cue's parameter θ of each image (n,) on the device, where its class sets it."""

    def views(self, batch: batching.Batch, *, training: bool, planted: bool = True) -> tuple[Tensor, Question, Tensor]:
        """Cached images → crop, RandAugment → one row per view → plant → pose: views (V, C, H, W), question, who carries the cue."""
        settings = self.settings
        draws = batch.draws(settings.optimisation.seed)
        if training:
            images = augment(settings.views.augment, batch.images, settings.data.image_size, draws)
            if settings.views.rand_augment:
                images = rand_augment(images, settings.views.rand_augment, draws)
        else:
            images = centre(batch.images, settings.data.image_size)
        count = self.task.views
        images, source = images.repeat_interleave(count, dim=0), batch.source.repeat_interleave(count)
        draws = self.draws(batch)
        carriers = torch.full_like(source, False, dtype=torch.bool)
        if planted:
            carried = None if self.carried is None else self.carried[batch.index].repeat_interleave(count)
            images, carriers = plant(
                self.shortcut, settings.question.shortcut_key, images, draws, source, len(self.images.keys), carried
            )
        views, question = self.task.pose(images, draws)
        if self.answers is not None:
            question["target"] = self.answers[batch.index].repeat_interleave(count)
        if settings.machine.precision == 64:
            views = views.double()
        # On CPU channels-last convolutions are up to twice as fast, and on GPUs tensor cores want them too.
        return views.contiguous(memory_format=torch.channels_last), question, carriers

    def draws(self, batch: batching.Batch) -> Draws:
        """The draws of a batch's views (V)."""
        return batch.draws(self.settings.optimisation.seed).repeat(self.task.views)

    def lensed(self, views: Tensor, question: Question, draws: Draws) -> Tensor:
        """What the lens, or a rival, makes of held-out views (V, C, H, W) in [0, 1], clamped but not rounded."""
        return self.lensed_and_quiet(views, question, draws)[0]

    def lensed_and_quiet(self, views: Tensor, question: Question, draws: Draws) -> tuple[Tensor, Tensor]:
        """`lensed`, and the same without the lens's own noise, if it has any."""
        assert self.lens is not None
        noise = None
        with self.fabric.autocast():
            if isinstance(self.lens, Rival):
                quiet: Tensor = self.lens(views, question, draws)
            elif isinstance(self.lens, FixedLens):
                quiet = self.lens(views, draws)
            elif not isinstance(self.lens, LearnedLens):  # any other function of images
                quiet = self.lens(views)
            else:
                quiet = self.lens(views, None, lambda: draws)
                noise = self.lens.noise_for(views, draws)
                if noise is not None and self.lens.after:
                    noise = self.lens(views, noise, lambda: draws) - quiet
        lensed = quiet if noise is None else quiet + noise
        return lensed.to(views.dtype).clamp(0, 1), quiet.to(views.dtype).clamp(0, 1)

    def batches(
        self, index: np.ndarray[Any, Any], size: int, images: data.Images | None = None
    ) -> Iterator[batching.Batch]:
        """Held-out batches of `size` images on the device, in order, the last one shorter."""
        for start in range(0, len(index), size):
            yield batching.gather(images or self.images, index[start : start + size], EVALUATION).to(self.fabric.device)

    @property
    def by_source(self) -> bool:
        """Whether the answer is an image's source, so that sources count equally, whatever their sizes."""
        return self.task.answer == "source"

    def held_out(self, split: str) -> np.ndarray[Any, Any]:
        """The images that the task is asked about: of "val" to `val_images`, of "test" to `test_images`.

        They are a random choice, once and for all; where the answer is the source, as many of each as there are. Where it is
        the label, they are of classes that training has.
        """
        limit = self.settings.measuring.val_images if split == "val" else self.settings.measuring.test_images
        if self.by_source:
            return self.of_each_source(split, limit)
        index = self.images.indices(split)
        if self.answers is not None:  # below zero: of a class that training lacks
            index = index[(self.answers >= 0).cpu().numpy()[index]]
        return data.sample_of(index, limit, self.settings.optimisation.seed, split)

    def of_each_source(self, split: str, limit: int | None) -> np.ndarray[Any, Any]:
        """At most `limit` images of a split, as many of each source as there are: a random choice, once and for all."""
        each = None if limit is None else max(1, limit // len(self.images.keys))
        chosen = [
            data.sample_of(
                self.images.indices(split, source), each, self.settings.optimisation.seed, f"{split} {source}"
            )
            for source in range(len(self.images.keys))
        ]
        return np.sort(np.concatenate(chosen))

    def share_statistics(self) -> None:
        """Under `--sync_batchnorm local`: give every rank the running statistics of rank 0, which are the ones that are kept."""
        if self.settings.optimisation.sync_batchnorm == "local":
            for player in (self.extractor, self.lens):
                for buffer in player.buffers() if player is not None else ():
                    self.ranks.broadcast(buffer)

    @property
    def lensed_statistics_only(self) -> bool:
        """Whether training never updates the raw set of statistics (`--feed lensed`)."""
        return self.lens is not None and self.settings.game.feed == "lensed"

    def reestimate_statistics(self, extractor: Extractor) -> None:
        """Estimate the raw set of batch-norm statistics on unlensed training views."""
        index = self.images.indices("train")
        size = max(1, 64 // self.task.views)
        sources = self.images.source[index] if self.by_source else None
        order = batching.order_of(len(index), self.settings.optimisation.seed, 0, "statistics", sources).numpy()
        chosen = index[order[: STATISTICS_BATCHES * size]]
        if len(chosen) > size:  # a last batch of a few views would be noise
            chosen = chosen[: len(chosen) // size * size]

        def inputs() -> Iterator[tuple[Tensor, Question]]:
            for batch in self.batches(chosen, size):
                views, question, _ = self.views(batch, training=True)
                yield self.task.present(views, question), question

        with self.fabric.autocast():
            reestimate_statistics(extractor, inputs())
