"""The two-player step (Minderer et al. 2020, section 3), and the plain step that it is compared with.

F, the extractor, minimises l(F(L(x)), y); L, the lens, minimises l_adv + λ·l_rec. Each image goes once through each
network: one graph, and each player's loss is differentiated with respect to its own parameters only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lens.players.objectives import adversarial_loss
from lens.protocols.task import Question, Task
from lens.settings.groups.game import GameSettings

Backward = Callable[[Tensor, list[nn.Parameter], bool], None]
"""(loss, inputs, keep the graph): what differentiates a loss. Fabric's, so that precision and ranks are its business."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """Who sees what: `objective` least_likely|full|uniform, None without a lens that learns, `feed` both|lensed, `batch_norm` separate|joint."""

    objective: str | None
    feed: str
    batch_norm: str

    @classmethod
    def of(cls, settings: GameSettings) -> Rules:
        """The rules of a run."""
        return cls(settings.objective, settings.feed, settings.batch_norm)


@dataclasses.dataclass(frozen=True)
class Game:
    """What a step is played by: the task, the rules, what differentiates a loss; `share` scales every loss.

    A batch that is taken in n parts has the share 1/n: its gradients add up.
    """

    task: Task
    rules: Rules
    backward: Backward
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Player:
    """One side of the game: what it computes, and the parameters that its own loss moves.

    An extractor gives its outputs; a lens changed views, not clamped, and by how much they left [0, 1] before a stage after it, or None.
    """

    net: Callable[..., Any]
    parameters: list[nn.Parameter]


@dataclasses.dataclass(frozen=True)
class Losses:
    """The parts of one step, each a scalar on the device: what is logged, and what must stay finite.

    `pull`: how many times stronger λ · reconstruction pulls at the lensed pixels than the adversarial loss does.
    """

    extractor: Tensor
    adversarial: Tensor | None = None
    reconstruction: Tensor | None = None
    clamped_mse: Tensor | None = None
    lens: Tensor | None = None
    pull: Tensor | None = None

    def parts(self) -> dict[str, Tensor]:
        """The parts that this step had, by name."""
        return {name: part.detach() for name, part in vars(self).items() if part is not None}


def clamp_straight_through(images: Tensor) -> Tensor:
    """Clamp to [0, 1]; the gradient passes as if nothing had been clamped."""
    return images + (images.clamp(0, 1) - images).detach()


def extractor_losses(
    extractor: Callable[..., Tensor], task: Task, views: Tensor, lensed: Tensor, question: Question, rules: Rules
) -> tuple[Tensor, Tensor]:
    """F's loss (a mean over what it is fed) and the head's outputs on the lensed views."""
    lensed_input = task.present(lensed, question)
    if rules.feed == "lensed":
        outputs = extractor(lensed_input, question, lensed=True)
        return task.loss(outputs, question).mean(), outputs
    if rules.batch_norm == "separate":
        raw_outputs = extractor(task.present(views, question), question, lensed=False)
        outputs = extractor(lensed_input, question, lensed=True)
    else:
        asks = task.head_reads_question
        twice = {name: torch.cat([value, value]) for name, value in question.items()} if asks else None
        raw_outputs, outputs = extractor(torch.cat([task.present(views, question), lensed_input]), twice).chunk(2)
    return (task.loss(raw_outputs, question).mean() + task.loss(outputs, question).mean()) / 2, outputs


def adversarial_step(
    game: Game, lens: Player, extractor: Player, views: Tensor, question: Question, recon_weight: Tensor | float
) -> Losses:
    """Add both players' gradients for one batch of views (V, C, H, W) in [0, 1] to their `.grad`.

    Both gradients are taken at the same point, before either player moves. The extractor (and every measure) sees the
    lensed image clamped to [0, 1], straight through; the reconstruction error is the mean squared error of the
    *unclamped* x + δ: otherwise, on black and white pixels, the adversary's gradient passes while the penalty
    saturates, and δ runs away. So it has back what a stage after the lens has taken away of that.
    """
    task, rules = game.task, game.rules
    changed, outside = lens.net(views)
    unclamped = changed if outside is None else changed + outside
    lensed = clamp_straight_through(changed)
    extractor_loss, outputs = extractor_losses(extractor.net, task, views, lensed, question, rules)
    assert rules.objective is not None
    adversarial = adversarial_loss(rules.objective, task, outputs, question).mean()
    reconstruction = (unclamped - views).square().mean()
    lens_loss = adversarial + recon_weight * reconstruction
    game.backward(extractor_loss * game.share, extractor.parameters, True)
    at_pixels: list[Tensor] = []
    changed.register_hook(at_pixels.append)
    game.backward(lens_loss * game.share, lens.parameters, False)
    clamped_mse = (lensed.detach() - views).square().mean()
    pull = pull_of(at_pixels[0] / game.share, (unclamped - views).detach(), recon_weight)
    return Losses(extractor_loss, adversarial, reconstruction, clamped_mse, lens_loss, pull)


def pull_of(gradient: Tensor, change: Tensor, recon_weight: Tensor | float) -> Tensor:
    """‖∂(λ·l_rec)/∂L(x)‖ / ‖∂l_adv/∂L(x)‖, from the gradient of their sum and the change L(x) − x: a scalar on the device.

    Where each pixel can go where it wants, the two are opposite and equal: 1. A lens that still cannot restore what stands
    before it, such as noise, has a larger one.
    """
    restoring = 2 * recon_weight * change / change.numel()
    ratio: Tensor = restoring.norm() / (gradient - restoring).norm().clamp(min=1e-12)
    return ratio


def rival_step(game: Game, extractor: Player, views: Tensor, changed: Tensor, question: Question) -> Losses:
    """The same step with views that a rival of the lens has changed: only the extractor learns."""
    loss, _ = extractor_losses(extractor.net, game.task, views, changed, question, game.rules)
    game.backward(loss * game.share, extractor.parameters, False)
    return Losses(loss, clamped_mse=(changed - views).square().mean())


def plain_step(game: Game, extractor: Player, views: Tensor, question: Question) -> Losses:
    """The same step without a lens: add the extractor's gradient on raw views to its `.grad`."""
    task = game.task
    loss = task.loss(extractor.net(task.present(views, question), question), question).mean()
    game.backward(loss * game.share, extractor.parameters, False)
    return Losses(loss)
