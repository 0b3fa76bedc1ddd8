"""A step's forward passes on copies of both players, before there is a run: settings that cannot train are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lens.base.errors import BadInput
from lens.images import batching
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.training.coupled import Coupled
from lens.training.step import Rules, extractor_losses

ENOUGH = 2
"""Images in a part of a batch from which on it does not matter how many more there are: each norm has several values."""


def rehearse(players: Players) -> None:
    """Show one part of a batch, as one rank is handed it, to copies of both players that are in training.

    The players, their statistics and torch's random numbers stay as they are. Raises BadInput where a norm would have one
    value a channel to standardise, and where an image would be asked about another one's answer that is not there.
    """
    settings, task = players.settings, players.task
    mine = settings.optimisation.batch_size // players.ranks.world
    if settings.question.shuffle_labels and mine < ENOUGH:
        raise BadInput(
            f"--shuffle_labels takes the answers of other images of a batch and each of {players.ranks.world} processes has "
            f"{mine}: give --batch_size {ENOUGH * players.ranks.world} or more"
        )
    if task.couples and players.ranks.world > 1:
        task = Coupled(task, players.ranks)
    index = players.images.indices("train")[: min(mine // settings.optimisation.grad_accum_steps, ENOUGH)]
    extractor = copy.deepcopy(players.extractor).train()
    device = players.fabric.device
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.no_grad(),
        players.fabric.autocast(),
    ):
        batch = batching.gather(players.images, index, 0).to(device)
        views, question, _ = players.views(batch, training=True)
        changed = views
        if isinstance(players.lens, LearnedLens):
            with _told(players, "the lens", len(views)):
                changed = (
                    copy.deepcopy(players.lens)
                    .train()(views, None, lambda: players.draws(batch))
                    .to(views.dtype)
                    .clamp(0, 1)
                )
        inputs = task.present(views, question)
        with _told(players, "the extractor", len(inputs)):
            if players.lens is None:
                task.loss(extractor(inputs, question), question)
            else:
                extractor_losses(extractor, task, views, changed, question, Rules.of(settings.game))


@contextmanager
def _told(players: Players, player: str, rows: int) -> Iterator[None]:
    """Give torch's refusal of a single value its line."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 "):
            raise
        learning, side = players.settings.optimisation, players.settings.data.image_size
        world, parts = players.ranks.world, learning.grad_accum_steps
        among = [f"{world} processes"] * (world > 1) + [f"--grad_accum_steps {parts}"] * (parts > 1)
        raise BadInput(
            f"--batch_size {learning.batch_size}{' among ' * bool(among)}{' and '.join(among)} shows {player} {rows} "
            f"picture{'s' * (rows > 1)} at a time, and at --image_size {side} one of its norms has a single value a channel "
            f"then: give --batch_size {ENOUGH * world * parts} or more{', a lower --grad_accum_steps' * (parts > 1)}, or a "
            "larger --image_size"
        ) from error
