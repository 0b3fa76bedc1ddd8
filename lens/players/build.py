"""The players of a run, built from its settings."""

from __future__ import annotations

from typing import Any

import lightning_fabric
import torch
from torch import Tensor

from lens.base.draws import EVALUATION, Draws
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.images import data
from lens.images.mixing import Mixing
from lens.images.planting import thetas_of_classes
from lens.players import weights
from lens.players.begin_from import begin_from
from lens.players.building import build_extractor
from lens.players.extractor import Extractor
from lens.players.fixed import FixedLens
from lens.players.global_norm import synchronise
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.players.posing import posed_about
from lens.players.rival_target import target_mse
from lens.players.rivals import Rival
from lens.protocols.lens import Composition, Lens, Loss
from lens.protocols.lookup import key_name
from lens.protocols.task import Question, Task
from lens.settings.parsing import Parsed
from lens.settings.run_settings import Settings


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
    task, answers = posed_about(parsed.plugins["task"], key_name(settings.question.task), settings.views, images)
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
    pretrained = settings.players.pretrained and not weights_follow
    extractor = new_extractor(settings, task, pretrained)
    lens: LearnedLens | FixedLens | Rival | None = None
    plugin: Lens = parsed.plugins["lens"]
    if plugin.learns:
        stages = plugin.stages if isinstance(plugin, Composition) else [plugin]
        own = [stage.learns for stage in stages].index(True)
        before, after = map(FixedLens, stages[:own]), map(FixedLens, stages[own + 1 :])
        noise, grey = settings.players.lens_noise, settings.players.lens_grey
        lens = LearnedLens(stages[own], noise, grey, tuple(before), tuple(after))
    elif plugin.fixed:
        lens = FixedLens(plugin)
    elif plugin.changes:
        change = target_mse(parsed) if rival_mse is None else rival_mse
        lens = Rival(plugin, change, _loss_of(extractor, task, settings.game.feed, fabric), settings.players.lens_grey)
    if settings.players.extractor_weights and not weights_follow:
        weights.load_weights(extractor.backbone, settings.players.extractor_weights, "--extractor_weights")
    if settings.players.lens_weights:
        if not isinstance(lens, LearnedLens):
            raise BadInput(f"--lens_weights has no meaning with --lens {settings.players.lens}: it does not learn")
        begin_from(lens, settings.players.lens_weights, settings.data.image_size, read=not weights_follow)
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
    carried = None
    if shortcut.plants and settings.question.shortcut_key == "label":
        carried = thetas_of_classes(images, settings.optimisation.seed, settings.question.shortcut_share)
        carried = carried.to(fabric.device)
    return Players(
        settings=settings,
        task=task,
        shortcut=shortcut,
        images=images,
        extractor=extractor,
        lens=lens,
        fabric=fabric,
        ranks=ranks,
        mixing=mixing,
        answers=answers,
        carried=carried,
    )


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


def new_extractor(settings: Settings, task: Task, pretrained: bool = False) -> Extractor:
    """An extractor with its head as the settings describe it, from torch's current seed; `pretrained` with timm's weights."""
    players, game = settings.players, settings.game
    # Where the extractor only ever sees lensed images, the raw set still has to be kept apart: it is re-estimated.
    separate = players.lens_class.changes and (game.batch_norm == "separate" or game.feed == "lensed")
    return build_extractor(
        task, players.extractor, settings.data.image_size, players.extractor_stem, players.extractor_args, pretrained,
        separate,
    )  # fmt: skip
