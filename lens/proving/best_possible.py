"""The best possible line: the least change after which images with and without an additive cue have one law, where it is known.

Let side k (of weight w_k) show x + o_k: the same pictures, with the cue's offset. Whatever both come out as, if it is one law of
mean m, a side is changed by at least |o_k − m|² (Jensen), so that the weighted mean of the sides' mean squared changes is at
least the weighted variance of the offsets, min over m of Σ w_k |o_k − m|². Of two sides it is W2²/4, and half-way reaches it (the
2-Wasserstein distance of a shift is its length: Peyré & Cuturi 2019, Computational Optimal Transport, remark 2.19). Values that
are clipped at the ends of the range move less: they are not counted.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from lens.base.draws import EVALUATION, Draws
from lens.measuring.proportions import means_by_class
from lens.operations import quality
from lens.players.players import Players
from lens.protocols.shortcut import Shortcut
from lens.proving import bounds, cue
from lens.proving.lensed_set import LensedSet
from lens.results.removal import BestPossible, Cue

LEVELS = (0.45, 0.5, 0.55)
"""Grey pictures on which a cue is looked at, far from the ends of the range."""


@torch.no_grad()
def offset(shortcut: Shortcut, theta: float, side: int) -> Tensor | None:
    """What a cue adds to every picture (3, side, side), or None where it is not additive.

    It is if it adds the same to pictures of several levels and to noise, whatever is drawn beside θ.
    """
    count = len(LEVELS) + 1
    noise = 0.45 + 0.1 * torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    shown = torch.cat([torch.full((1, 3, side, side), level) for level in LEVELS] + [noise])
    index = torch.arange(count)
    planted = shortcut.plant(shown, torch.full((count,), theta), Draws(0, EVALUATION, index, index))
    added = planted - shown
    return added[0] if bool(((added - added[:1]).abs() < 1e-5).all()) else None


def least(offsets: Tensor, weights: Tensor) -> float:
    """The least weighted mean squared change, from the sides' offsets (S, …) and weights (S,) that add up to 1."""
    flat = offsets.double().flatten(1)
    middle = (weights[:, None] * flat).sum(dim=0)
    return float((weights * (flat - middle).square().mean(dim=1)).sum())


def of_run(players: Players, asked: Cue | None, test: LensedSet) -> BestPossible:
    """The line of a run, or why there is `none`.

    The sides are the sources where the cue alone sets them apart, else images without the cue and with it, each θ as often, of
    which what was `asked` of the cue says what was changed.
    """
    if bounds.why_none(players) is None:
        sources = len(players.images.keys)
        thetas = [k / (sources - 1) for k in range(sources - 1)]
        changed = float(means_by_class(test.error, test.source).mean())
        return _line(players, thetas, [1 / sources] * sources, "the sources", changed)
    if asked is None or len(asked.planted) != 1:
        several = "several cues are planted" if asked and asked.planted else asked and asked.none
        return BestPossible(none=f"not known: {several or 'nobody was asked for the cue'}")
    ((_, one),) = asked.planted.items()
    kinds = cue.parameters_of(players, players.shortcut)
    if not kinds.native:
        return BestPossible(none="not known: the cue has too many values")
    ends = (0.0, *kinds.edges, 1.0)
    widths = [0.5 * (high - low) for low, high in itertools.pairwise(ends)]
    thetas = [low if kinds.exact else (low + high) / 2 for low, high in itertools.pairwise(ends)]
    weights = [0.5, *widths]
    changed = sum(one.change.values()) / 2
    # The line is that of one law for all sides: where θ has several values, each of them counts, and not their mixture.
    sides = (
        "images without and with the cue" if len(thetas) == 1 else "images without the cue and with each of its values"
    )
    return _line(players, thetas, weights, sides, changed)


def _line(players: Players, thetas: list[float], weights: list[float], sides: str, changed: float) -> BestPossible:
    """The line for a side without the cue, and one for each θ."""
    size = players.settings.data.image_size
    added = [offset(players.shortcut, theta, size) for theta in thetas]
    known = [one for one in added if one is not None]
    if len(known) < len(added):
        return BestPossible(none="not known: the cue does not add the same to every picture")
    mse = least(torch.stack([torch.zeros_like(known[0]), *known]), torch.tensor(weights, dtype=torch.float64))
    return BestPossible(sides=sides, psnr=quality.psnr(mse), found=quality.psnr(changed))
