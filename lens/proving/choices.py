"""How far apart what comes out with the cue and without it is, of a lens that draws what it hides: a share for each picture.

Of one picture x and a cue planted at random, such a lens gives one of many pictures, by its choice c. Without the cue it
gives the one of choice c with probability q(c); with it, with probability p(c), and the two are the same, bit for bit, where
the lens reads no pixel in which they differ. Let p*(c) be the part of p(c) of which that is so. The total variation
distance of the two laws is at most 1 − Σ min(q(c), p*(c)): for each picture, so that where a box falls may depend on it.
p* is the mean over replays of the cue. A mean of few makes the distance larger, never smaller (it is convex).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.draws import EVALUATION, Draws, step_seed
from lens.images.planting import plant
from lens.operations.quality import to_8_bits
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.protocols.lens import Choosing

Array = np.ndarray[Any, Any]
REPLAYS = 2048
"""Replays of the cue in each picture, a power of two."""
PICTURES = 100
"""Pictures that are looked at, at most."""
EVEN = 16
"""Draws of one name up to which replays are spread evenly; more are drawn independently."""
ROWS = 64
"""Replays at a time: what a CPU's caches hold."""


@dataclasses.dataclass(frozen=True)
class Replays(Draws):
    """Draws of one image many times, each as ever, and together as even as Sobol's points (Cranley, Patterson 1976).

    Every row is the same image; its `view` is its number.
    """

    def uniform(self, name: str, *shape: int, per_image: bool = False) -> Tensor:
        """Float32 in [0, 1), (V, *shape): a point of Sobol's for each row, all shifted by the image's own draw."""
        own = super().uniform(name, *shape, per_image=per_image)
        count = own[0].numel()
        if per_image or not 0 < count <= EVEN:
            return own
        points = _points(name, count)[self.view.cpu()].to(own.device)
        shift = Draws(self.seed, self.epoch, self.index, torch.zeros_like(self.view)).uniform(name, count).double()
        return ((shift + points) % 1).float().clamp(max=1 - 2**-24).reshape(own.shape)


@functools.lru_cache(maxsize=8)
def _points(name: str, count: int) -> Tensor:
    """Sobol's points (REPLAYS, count), scrambled otherwise for every name."""
    from scipy.stats import qmc

    seed = np.random.default_rng(step_seed(0, 0, name))
    return torch.from_numpy(qmc.Sobol(count, scramble=True, seed=seed).random(REPLAYS))


@dataclasses.dataclass(frozen=True)
class Apart:
    """Of n pictures and K − 1 sources with a cue: how far their laws are apart and which share was missed, (K − 1, n) each.

    `found` (n,) bool tells where a mark was found without a cue.
    """

    distance: Array
    missed: Array
    found: Array


def network_of(players: Players) -> Choosing | None:
    """The network of a lens that draws what it hides, None of any other."""
    lens = players.lens
    return lens.unet if isinstance(lens, LearnedLens) and isinstance(lens.unet, Choosing) else None


@torch.no_grad()
def apart(players: Players, index: Array, advance: Callable[[int], None] = lambda more: None) -> Apart:
    """Replay the cue of every source in each of the images at `index` (n,), as they are without one."""
    net, lens = network_of(players), players.lens
    assert net is not None
    assert isinstance(lens, LearnedLens)
    lens.eval()
    distances, missed, found = [], [], []
    for batch in players.batches(index, 1):
        clean = to_8_bits(players.views(batch, training=False, planted=False)[0])
        with players.fabric.autocast():
            read = lens.prepared(clean, lambda batch=batch: players.draws(batch))  # type: ignore[misc]
            law = net.law(read)[0].double().cpu()
            found.append(bool(net.chosen(read, players.draws(batch))[1][0]))
        pairs = [_replayed(players, net, clean, read, batch.index, k) for k in range(1, len(players.images.keys))]
        same = [torch.bincount(choice[equal], minlength=len(law)).double() / REPLAYS for choice, equal in pairs]
        distances.append([1 - float(torch.minimum(law, one).sum()) for one in same])
        missed.append([1 - float(one.sum()) for one in same])
        advance(1)
    return Apart(np.array(distances).T, np.array(missed).T, np.array(found))


def _replayed(
    players: Players, net: Choosing, clean: Tensor, read: Tensor, image: Tensor, source: int
) -> tuple[Tensor, Tensor]:
    """The choices for one picture with the cue of a source, replayed, and whether what comes out is as without it (both on the CPU)."""
    settings, lens = players.settings, players.lens
    assert isinstance(lens, LearnedLens)
    choices, equals = [], []
    for start in range(0, REPLAYS, ROWS):
        number = torch.arange(start, min(start + ROWS, REPLAYS), device=image.device)
        draws = Draws(settings.optimisation.seed, EVALUATION, image.expand(len(number)), number)
        views = clean.expand(len(number), -1, -1, -1)
        sources = torch.full_like(number, source)
        planted, _ = plant(players.shortcut, "source", views, Replays(**vars(draws)), sources, len(players.images.keys))
        with players.fabric.autocast():
            planted = to_8_bits(planted).contiguous(memory_format=torch.channels_last)
            marked = lens.prepared(planted, lambda draws=draws: draws)  # type: ignore[misc]
            choice, _ = net.chosen(marked, draws)
        differs = (marked != read).any(dim=1, keepdim=True) & ~net.unread(marked, choice)
        choices.append(choice.cpu())
        equals.append(~differs.flatten(1).any(dim=1).cpu())
    return torch.cat(choices), torch.cat(equals)
