"""A bound on what anybody can read: of pairs that differ in nothing but the cue, how many leave the lens different?

Two images that are the same bit for bit cannot be told apart. Let x be clean and C_k(x) the same picture with the cue of
source k; if a share P_k of such pairs comes out different, no classifier of K sources that differ in the cue alone has a
balanced accuracy above (1 + Σ P_k) / K: a coupling, as in the definition of the total variation distance (Levin, Peres,
Wilmer, Markov Chains and Mixing Times, proposition 4.7).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats

from lens.base.bar import Bar
from lens.images import batching
from lens.operations import quality
from lens.players.fixed import FixedLens
from lens.players.players import Players

Array = np.ndarray[Any, Any]
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Bound:
    """What was proved: no classifier of the sources is right more often than `proved`, at a confidence of 95 %.

    `differ` is the share of the pairs of each source with a cue that came out different, of groups where images have groups,
    and `upper` its upper end; `of` how many pairs, or groups, these are shares of. `at_best` is what the bound would be if the
    shares were exact.
    """

    differ: list[float]
    upper: list[float]
    of: int
    at_best: float
    proved: float


def why_none(players: Players) -> str | None:
    """Why there is no bound for a run, or None where the conditions hold.

    The cue must be replayed, and must be all that sets the sources apart: they are random parts of one source. The lens is
    trained before the pairs are drawn, its draws are a function of the image and shared by the pair, and what is compared is
    what judges look at: 8-bit pixels, nothing of a file.
    """
    settings = players.settings
    if not players.shortcut.plants or settings.question.shortcut_key != "source":
        return "the cue cannot be replayed: it was not planted here"
    if settings.data.pseudo_sources is None:
        return "the sources differ in more than the planted cue: they are not random parts of one (--pseudo_sources)"
    return None


def of_run(players: Players, index: Array) -> dict[str, Any]:
    """The `bound` of removal.json: a `Bound` from the images at `index`, which the lens has not met, or why there is `none`.

    `unfinished` counts what a fixed lens gave of them that is not yet what it promises.
    """
    if why := why_none(players):
        return {"none": why}
    with Bar("replaying the cue", len(index), "images") as bar:
        differ = differing(players, index, bar.add)
    found = dataclasses.asdict(bound(differ, players.images.group[index]))
    return found | {"unfinished": unfinished(players, index)}


@torch.no_grad()
def unfinished(players: Players, index: Array) -> int:
    """How many of the images at `index` a fixed lens has not brought to what it promises."""
    if not isinstance(players.lens, FixedLens):
        return 0
    plugin = players.lens.plugin
    lensed = (_lensed(players, batch) for batch in players.batches(index, 256))
    return sum(int(plugin.unfinished(one).sum()) for one in lensed)


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
    """The bound from pairs (K − 1, n) that came out different, and each image's group (n,).

    Images of a group are not independent, so a group counts as different where one of its pairs is. The ends are
    Clopper's and Pearson's (1934), with a level that holds for all sources together (Bonferroni).
    """
    _, member = np.unique(group, return_inverse=True)
    any_of = np.stack([np.bincount(member, row) > 0 for row in differ])
    of, cues = any_of.shape[1], len(any_of)
    tail = (1 - LEVEL) / cues
    counts = any_of.sum(axis=1)
    upper = [1.0 if k == of else float(stats.beta.ppf(1 - tail, k + 1, of - k)) for k in counts.tolist()]
    shares = (counts / of).tolist()
    chance = 1 / (cues + 1)
    return Bound(shares, upper, of, min(1.0, chance * (1 + sum(shares))), min(1.0, chance * (1 + sum(upper))))
