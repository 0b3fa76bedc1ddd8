"""What a run is made of: the images, the task, the shortcut and the two players, built from its settings."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor

from lens.base import yaml_text
from lens.base.draws import EVALUATION, Draws
from lens.base.errors import BadInput
from lens.base.files import reading
from lens.base.ranks import Ranks, launched
from lens.base.terminal import Bar, say
from lens.base.threads import set_threads
from lens.images import batching, classes, data, divide, overlap, removal
from lens.images.augment import augment, centre
from lens.images.cache import default_cache_dir
from lens.images.mixing import Mixing
from lens.images.planting import plant
from lens.images.rand_augment import rand_augment
from lens.images.splits import SPLITS
from lens.players import weights
from lens.players.building import build_extractor
from lens.players.extractor import Extractor, reestimate_statistics
from lens.players.global_norm import synchronise
from lens.players.lens import LearnedLens
from lens.players.rival_target import target_mse
from lens.players.rivals import Loss, Rival
from lens.protocols.lens import Lens
from lens.protocols.lookup import find, key_name
from lens.protocols.shortcut import Shortcut
from lens.protocols.source import Listing
from lens.protocols.task import Question, Task
from lens.settings.groups.data import LARGEST_SIDE
from lens.settings.parsing import Parsed
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
    lens: LearnedLens | Rival | None
    fabric: lightning_fabric.Fabric
    ranks: Ranks
    mixing: Mixing
    answers: Tensor | None = None
    """Each image's answer (n,) int64 on the device, where the task takes it from the data."""

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
            images, carriers = plant(
                self.shortcut, settings.question.shortcut_key, images, draws, source, len(self.images.keys)
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
            else:
                quiet = self.lens(views)
                if isinstance(self.lens, LearnedLens):
                    noise = self.lens.noise_for(views, draws)
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


def make_fabric(settings: Settings) -> lightning_fabric.Fabric:
    """Lightning Fabric on one device, or on one a process under torchrun. Raises BadInput for a device that is not there."""
    device, processes = settings.machine.device, launched()
    mine = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes > 1 else 1
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        if processes > 1 and ":" in device:
            raise BadInput(f"--device {device}: under torchrun each process takes its own; give --device cuda")
        if max(number, mine - 1) >= torch.cuda.device_count():
            raise BadInput(
                f"--device {device}: torch sees {torch.cuda.device_count()} CUDA devices, {max(number + 1, mine)} are "
                "asked for; try --device auto, or a lower --nproc-per-node"
            )
        accelerator, devices = "cuda", [number] if processes == 1 else mine
        # The same bits again on the same card: atomic additions in a backward pass would not give them.
        torch.backends.cudnn.deterministic = True
    else:
        accelerator, devices = "cpu", mine
    set_threads(settings.machine.threads, mine)
    precision: Any = {32: "32-true", 64: "64-true", "bf16": "bf16-mixed"}[settings.machine.precision]
    if processes == 1:
        return lightning_fabric.Fabric(accelerator=accelerator, devices=devices, precision=precision)
    from lightning_fabric.strategies.ddp import DDPStrategy

    if settings.optimisation.batch_size % (processes * settings.optimisation.grad_accum_steps):
        raise BadInput(
            f"--batch_size {settings.optimisation.batch_size} does not divide into {processes} processes of --grad_accum_steps "
            f"{settings.optimisation.grad_accum_steps} equal parts"
        )
    # The statistics are shared by the norms, or kept each rank's own, and the two sets take turns: nothing to broadcast.
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    unsynced: dict[str, Any] = {
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
    }
    strategy = DDPStrategy(**unsynced)
    fabric = lightning_fabric.Fabric(
        accelerator=accelerator, devices=devices, num_nodes=processes // mine, precision=precision, strategy=strategy
    )
    fabric.launch()
    return fabric


def load_images(
    settings: Settings,
    keys: list[str],
    image_column: str | None = None,
    label_column: str | None = None,
    check: Callable[[list[str], list[Listing]], None] = lambda keys, listings: None,
) -> data.Images:
    """The sources that `keys` name, cached at the run's size, with a bar while they are decoded.

    `check` may refuse what is listed before anything is decoded.
    """

    bar: Bar | None = None

    def progress(done: int, total: int, title: str = "decoding") -> None:
        nonlocal bar
        if bar is not None and bar.title != title:
            bar.__exit__()
            bar = None
        if bar is None:
            bar = Bar(title, total, "images").__enter__()
        bar.advance(done)

    try:
        return data.load(
            keys,
            settings.data.resolved_cache_size,
            Path(settings.data.cache_dir) if settings.data.cache_dir else default_cache_dir(),
            settings.data.max_bad_fraction,
            image_column,
            label_column,
            progress,
            settings.data.data_root,
            settings.data.cache,
            settings.data.group_by,
            check,
            settings.data.shown_range,
        )
    finally:
        if bar is not None:
            bar.__exit__()


def training_images(settings: Settings) -> data.Images:
    """The images of --data, with the columns that the settings name, divided as the task needs them.

    Sources are asked about by the task, or by the fresh classifiers for whom images of several are kept. Raises BadInput
    where sources overlap, or where one that is asked about is too small for it.
    """
    by_source = find("task", settings.question.task).answer == "source"
    fraction = settings.data.judge_fraction if settings.data.judge_fraction is not None else 0.5 if by_source else 0.0
    by_source = by_source or (fraction > 0 and len(settings.data.sources) > 1)
    overlap.refuse_overlap(settings.data.sources)

    def check(keys: list[str], listings: list[Listing]) -> None:
        overlap.refuse_overlap(keys, listings)
        if settings.data.group_by is not None:
            divide.refuse_unmatched(settings.data.group_by, keys, listings)

    images = load_images(settings, settings.data.sources, settings.data.image_column, settings.data.label_column, check)
    images = divide.divided(
        images,
        by_source=by_source,
        pseudo_sources=settings.data.pseudo_sources,
        judge_fraction=fraction,
        seed=settings.optimisation.seed,
    )
    return divide.labelled_only(images) if find("task", settings.question.task).answer == "label" else images


def build(
    parsed: Parsed,
    images: data.Images,
    fabric: lightning_fabric.Fabric,
    ranks: Ranks | None = None,
    rival_mse: float | None = None,
    weights_follow: bool = False,
) -> Players:
    """Both players, freshly initialised from the seed (then from weight files, where given), on the device.

    `rival_mse` is the change that a rival was held to, where that is known from earlier. Where the weights of the run itself
    `follow`, those that it began with are neither read nor downloaded: they may be gone.
    """
    settings, shortcut = parsed.settings, parsed.plugins["shortcut"]
    task, answers = posed_about(parsed.plugins["task"], settings, images)
    if task.couples and (settings.optimisation.grad_accum_steps > 1 or settings.optimisation.batch_size < 2):
        raise BadInput(
            f"--task {key_name(settings.question.task)} asks about the images of a step together: --grad_accum_steps "
            f"{settings.optimisation.grad_accum_steps} and --batch_size {settings.optimisation.batch_size} do not work; give --grad_accum_steps 1 and two images or more"
        )
    # A question that this image size cannot be asked is refused here, before there is a run.
    one = torch.zeros(1, dtype=torch.int64)
    blank = torch.zeros(task.views, 3, settings.data.image_size, settings.data.image_size)
    _, question = task.pose(blank, Draws(settings.optimisation.seed, EVALUATION, one, one).repeat(task.views))
    ranks = ranks or Ranks(fabric)
    mixing = Mixing(settings.views.mixup, settings.views.cutmix, settings.views.label_smoothing)
    mixing.check(
        task, key_name(settings.question.task), len(blank), question, settings.optimisation.batch_size // ranks.world
    )
    torch.manual_seed(settings.optimisation.seed)
    extractor = new_extractor(settings.replaced(pretrained=False) if weights_follow else settings, task)
    lens: LearnedLens | Rival | None = None
    plugin: Lens = parsed.plugins["lens"]
    if plugin.learns:
        lens = LearnedLens(plugin, settings.players.lens_noise, settings.players.lens_grey)
    elif plugin.changes:
        change = target_mse(parsed) if rival_mse is None else rival_mse
        lens = Rival(plugin, change, _loss_of(extractor, task, settings.game.feed, fabric), settings.players.lens_grey)
    if settings.players.extractor_weights and not weights_follow:
        weights.load_weights(extractor.backbone, settings.players.extractor_weights, "--extractor_weights")
    if settings.players.lens_weights:
        if not isinstance(lens, LearnedLens):
            raise BadInput(f"--lens_weights has no meaning with --lens {settings.players.lens}: there is no lens")
        theirs = origin(Path(settings.players.lens_weights))
        if not weights_follow:
            weights.load_weights(lens, settings.players.lens_weights, "--lens_weights")
        if lens.side is None:  # its file does not say, as of versions that edited at the images' own size only
            lens.side = theirs.get("image_size")
        before = theirs.get("lens_noise", lens.noise)
        if lens.side not in (None, settings.data.image_size):
            say(
                f"--lens_weights {settings.players.lens_weights} was trained at {lens.side} px and the images have "
                f"{settings.data.image_size}: it edits them at {lens.side} px, and its edits are resized"
            )
        if (theirs_grey := theirs.get("lens_grey", lens.grey)) != lens.grey:
            say(
                f"--lens_weights {settings.players.lens_weights} was trained with --lens_grey {theirs_grey} and this run has "
                f"{lens.grey}: images without colour are edited otherwise; to have it as it was, give --lens_grey {theirs_grey}"
            )
        if before != lens.noise:
            meant = (
                "what the noise covered may be seen" if before > lens.noise else "its images get more noise than then"
            )
            say(
                f"--lens_weights {settings.players.lens_weights} was trained with --lens_noise {before:g} and this run has "
                f"{lens.noise:g}: {meant}; to have it as it was, give --lens_noise {before:g}"
            )
    place: Any = {"device": fabric.device, "memory_format": torch.channels_last}
    if settings.machine.precision == 64:
        place["dtype"] = torch.float64
    if ranks.world > 1 and settings.optimisation.sync_batchnorm == "global":
        synchronise(extractor, fabric.device)
        extractor.find_norms()
        if lens is not None:
            synchronise(lens, fabric.device)
    extractor.to(**place)
    if lens is not None:
        lens.to(**place)
    answers = None if answers is None else answers.to(fabric.device)
    return Players(settings, task, shortcut, images, extractor, lens, fabric, ranks, mixing, answers)


def origin(weights: Path) -> dict[str, Any]:
    """The settings of the run whose directory (or its best/) holds a weight file; empty where there is no such run.

    Raises BadInput where the file that holds them cannot be read as a run's settings.
    """
    for folder in (weights.parent, weights.parent.parent):
        if (folder / "settings.yaml").is_file():
            with reading(folder / "settings.yaml", "copy the weights elsewhere, if it is no run's"):
                found: dict[str, Any] = yaml_text.read(folder / "settings.yaml")
                numbers = {"image_size": int(found["image_size"]), "lens_noise": float(found.get("lens_noise", 0))}
                if not (8 <= numbers["image_size"] <= LARGEST_SIDE and 0 <= numbers["lens_noise"] <= 0.5):
                    raise ValueError(f"its image_size and lens_noise are {numbers}")
                grey = found.get("lens_grey", "free")  # as it was before there was the setting
                if grey not in ("keep", "free"):
                    raise ValueError(f"its lens_grey is {grey!r}")
                return found | numbers | {"lens_grey": grey}
    return {}


def posed_about(task: Task, settings: Settings, images: data.Images) -> tuple[Task, Tensor | None]:
    """The task with removal by hand around it, and each image's answer where that comes from the data.

    Classes are pooled over the sources by their names; a held-out image of one that training lacks has the answer −1. Raises
    BadInput where the task needs labels and an image has none, or all images of a split are of such classes.
    """
    answers = None
    if task.answer == "source":
        answers = torch.from_numpy(images.source)
        task = task.for_classes(images.keys)
    if task.answer == "label":
        name = key_name(settings.question.task)
        label, kinds = classes.pooled(images)
        missing = int((label[images.split != divide.UNLABELLED] < 0).sum())
        if missing:
            raise BadInput(
                f"--task {name} needs labels and {missing} of {len(images)} images have none: use class folders, or take those images away"
            )
        if len(kinds) < 2:
            raise BadInput(f"--task {name} needs two classes and the data has {len(kinds)}: give another --data")
        held = {split: images.indices(split) for split in SPLITS}
        known, lines = classes.known({split: label[index] for split, index in held.items()}, kinds)
        for line in (*classes.joined(name for names in images.classes for name in names), *lines):
            say(f"--task {name}: {line}")
        for split, index in held.items():
            if len(index) and not known[split].any():
                raise BadInput(
                    f"--task {name} needs {split} images of classes that training has, and all {len(index):,} are of others: "
                    "name the class folders of all splits alike"
                )
            label[index[~known[split]]] = -1
        answers = torch.from_numpy(label)
        task = task.for_classes(kinds)
    treated = removal.by_hand(
        task, settings.views.grey, settings.views.colour_jitter, settings.views.blur, settings.views.standardise
    )
    return treated, answers


def _loss_of(extractor: Extractor, task: Task, feed: str, fabric: lightning_fabric.Fabric) -> Loss:
    """The extractor's loss as it is measured: with running statistics, which an attack must not move."""

    def loss(views: Tensor, question: Question) -> Tensor:
        training = extractor.training
        extractor.eval()
        with fabric.autocast():
            outputs = extractor(task.present(views, question), question, lensed=feed == "lensed")
        extractor.train(training)
        total: Tensor = task.loss(outputs.float(), question).sum()
        return total

    return loss


def new_extractor(settings: Settings, task: Task) -> Extractor:
    """An extractor with its head as the settings describe it, from torch's current seed."""
    # Where the extractor only ever sees lensed images, the raw set still has to be kept apart: it is re-estimated.
    separate = settings.players.lens_class.changes and (
        settings.game.batch_norm == "separate" or settings.game.feed == "lensed"
    )
    return build_extractor(
        task, settings.players.extractor, settings.data.image_size, settings.players.extractor_stem, settings.players.extractor_args,
        settings.players.pretrained, separate,
    )  # fmt: skip
