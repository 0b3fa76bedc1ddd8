"""A bound on what anybody can read: of pairs that differ in nothing but the cue, how many leave the lens different?

Two images that are the same bit for bit cannot be told apart. Let x be clean and C_k(x) the same picture with the cue of
source k; if a share P_k of such pairs comes out different, no classifier of K sources that differ in the cue alone has a
balanced accuracy above (1 + Σ P_k) / K: a coupling, as in the definition of the total variation distance (Levin, Peres,
Wilmer, Markov Chains and Mixing Times, proposition 4.7).
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import optimize, special, stats

from lens.base.bar import Bar
from lens.base.draws import Draws
from lens.images import batching
from lens.images.data import sample_of
from lens.operations import quality
from lens.players.fixed import FixedLens
from lens.players.players import Players
from lens.protocols.lens import Composition, Lens
from lens.proving import choices
from lens.results.removal import Bound

Array = np.ndarray[Any, Any]
LEVEL = 0.95


def why_none(players: Players) -> str | None:
    """Why there is no bound for a run, or None where the conditions hold.

    The cue must be replayed, and must be all that sets the sources apart: they are random parts of one source. The lens is
    trained before the pairs are drawn, its draws are a function of the image and shared by the pair, and what is compared is
    what judges look at: 8-bit pixels, nothing of a file.
    """
    settings = players.settings
    if not players.shortcut.plants:
        return "the cue cannot be replayed: it was not planted here"
    if settings.question.shortcut_key != "source":
        return f"the cue says nothing of the source: its key is {settings.question.shortcut_key}, not source"
    if settings.data.pseudo_sources is None:
        return "the sources differ in more than the planted cue: they are not random parts of one (--pseudo_sources)"
    return None


def of_run(players: Players, index: Array) -> Bound:
    """The bound of a run, from the images at `index`, which the lens has not met, or why there is `none`.

    `unfinished` counts what a stage that is told what to do gave of them that is not yet what it promises.
    """
    if why := why_none(players):
        return Bound(none=why)
    if choices.network_of(players) is not None:
        return _of_choices(players, sample_of(index, choices.PICTURES, players.settings.optimisation.seed, "replays"))
    with Bar("replaying the cue", len(index), "images") as bar:
        differ = differing(players, index, bar.add)
    return dataclasses.replace(bound(differ, players.images.group[index]), unfinished=unfinished(players, index))


def _of_choices(players: Players, index: Array) -> Bound:
    """The same of a lens that draws what it hides.

    `differ` is then the mean distance of the two laws, of which `missed` is the share of replays of which something is left;
    `found_without` is the share of pictures in which a mark was found that was not there. `replays` were made of each picture.
    """
    with Bar("replaying the cue", len(index), "images") as bar:
        apart = choices.apart(players, index, bar.add)
    return dataclasses.replace(
        bound(apart.distance, players.images.group[index]),
        missed=apart.missed.mean(axis=1).tolist(),
        found_without=float(apart.found.mean()),
        replays=choices.REPLAYS,
        unfinished=0,
    )


@torch.no_grad()
def unfinished(players: Players, index: Array) -> int:
    """How many of the images at `index` some stage that is told what to do has not brought to what it promises."""
    lens = players.lens
    assert lens is not None
    lens.eval()
    before = [lens.plugin] if isinstance(lens, FixedLens) else [one.plugin for one in getattr(lens, "before", ())]
    after = [one.plugin for one in getattr(lens, "after", ())]
    count = 0
    for batch in players.batches(index, 256):
        views, question, _ = players.views(batch, training=False)
        views, draws = quality.to_8_bits(views), players.draws(batch)
        left = _left_by(before, views, draws)
        if after:
            inner = copy.copy(lens)
            inner.after = ()
            left |= _left_by(after, dataclasses.replace(players, lens=inner).lensed(views, question, draws), draws)
        count += int(left.sum())
    return count


def _left_by(plugins: list[Lens], views: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Which of the views (V,) bool one of the stages, one after the other, has not finished."""
    left = views.new_zeros(len(views)).bool()
    parts = [plugin.stages if isinstance(plugin, Composition) else [plugin] for plugin in plugins]
    for stage in itertools.chain(*parts):
        views = stage.apply(views, draws)
        left |= stage.unfinished(quality.to_8_bits(views))
    return left


@torch.no_grad()
def differing(players: Players, index: Array, advance: Callable[[int], None] = lambda more: None) -> Array:
    """Which pairs of the images at `index` (n,) leave the lens different, (K − 1, n) bool: one row for each source with a cue."""
    assert players.lens is not None
    players.lens.eval()
    found = []
    for batch in players.batches(index, 256):
        sources = range(len(players.images.keys))
        out = [_lensed(players, dataclasses.replace(batch, source=torch.full_like(batch.source, k))) for k in sources]
        found.append(torch.stack([(out[0] != other).flatten(1).any(dim=1) for other in out[1:]]).cpu().numpy())
        advance(len(batch.index))
    return np.concatenate(found, axis=1)


def _lensed(players: Players, batch: batching.Batch) -> torch.Tensor:
    """A batch as if it were of its `source`, lensed, at 8 bits."""
    views, question, _ = players.views(batch, training=False)
    return quality.to_8_bits(players.lensed(quality.to_8_bits(views), question, players.draws(batch)))


def bound(differ: Array, group: Array) -> Bound:
    """The bound from pairs (K − 1, n) that came out different, or from their distances in [0, 1], and each image's group (n,).

    P is the share of the images, which count in an accuracy one by one. The ends are Clopper's and Pearson's (1934) where each
    pair is independent. Images of a group are not, and distances are no counts: of groups of n_g images, a share d_g of which is
    different, P = Σ n_g d_g / Σ n_g. The n_g d_g / max n are independent and in [0, 1], so that Hoeffding's end (1963, theorem 1) of
    their mean is one of P as well, the groups' sizes given. The level holds for all sources together (Bonferroni).
    """
    _, member, sizes = np.unique(group, return_inverse=True, return_counts=True)
    images, cues = len(member), len(differ)
    tail = (1 - LEVEL) / cues
    shares = differ.mean(axis=1).tolist()
    grouped = len(sizes) < images
    if differ.dtype == bool and not grouped:
        upper = [1.0 if row.all() else _clopper_pearson(int(row.sum()), images, tail) for row in differ]
    else:
        largest = sizes.max()
        sums = [float(np.bincount(member, row).sum()) / largest for row in differ]
        upper = [min(1.0, _hoeffding(one, len(sizes), tail) * len(sizes) * largest / images) for one in sums]
    chance = 1 / (cues + 1)
    at_best, proved = (min(1.0, chance * (1 + sum(parts))) for parts in (shares, upper))
    return Bound(
        differ=shares, upper=upper, of=images, groups=len(sizes) if grouped else None, at_best=at_best, proved=proved
    )


def _clopper_pearson(count: float, of: int, tail: float) -> float:
    """The share at which so few are counted with probability `tail`."""
    return float(stats.beta.ppf(1 - tail, count + 1, of - count))


def _hoeffding(total: float, of: int, tail: float) -> float:
    """The mean m of values in [0, 1] at which exp(−n · KL(their mean ‖ m)) is `tail`: so low a mean is seen no more often."""
    mean = total / of

    def beyond(m: float) -> float:
        return float(special.rel_entr(mean, m) + special.rel_entr(1 - mean, 1 - m)) - math.log(1 / tail) / of

    last = 1 - 1e-12
    return float(optimize.brentq(beyond, mean, last)) if mean < last and beyond(last) > 0 else 1.0
