"""The planted cue itself, asked of judges before and after the lens: is it there, and which one is it?

It is planted in upright, whole images with a random key, whatever the run's task and key are, and given to the lens as
`lens apply` would give them: nothing but the cue tells what is asked, and its answer is independent of the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.bar import Bar
from lens.base.draws import Draws
from lens.images import batching, classes
from lens.images.augment import centre
from lens.images.cache import cache_dir_of
from lens.measuring.forensic import Forensic
from lens.measuring.judge import Pictures
from lens.measuring.judges import Judging
from lens.operations import quality
from lens.players.players import Players
from lens.protocols.lookup import key_name
from lens.protocols.shortcut import Shortcut, each_of
from lens.proving import begun_with, bounds, choices, parameters, reading
from lens.proving.lensed_set import rows_of, stored
from lens.proving.lensing import splits_of
from lens.proving.parameters import Parameters
from lens.proving.reading import Asked
from lens.results.removal import Answered, Bound, Cue, PlantedCue

Array = np.ndarray[Any, Any]
Planted = Mapping[str, tuple[Shortcut, Parameters]]
"""Cues by their names, in the order in which they are planted, each with the classes of its θ."""


@dataclasses.dataclass(frozen=True)
class CueSet:
    """A split's images at 8 bits (n, H, W, C) uint8: `raw` and `lensed` with a cue each, of which `kind` (n,) is the class of θ.

    `half_raw` and `half_lensed` are the same images, of which half have no cue (`carries` (n,) bool); `error` (n,) is the
    mean squared change of these, on [0, 1]; `apart` (n,) bool tells where the lens leaves an image with its cue and without it different.
    """

    raw: Array
    lensed: Array
    half_raw: Array
    half_lensed: Array
    kind: Array
    carries: Array
    error: Array
    apart: Array
    group: Array


def why_none(players: Players) -> str | None:
    """Why no judge is asked for the cue of a run, or None where one is."""
    if not players.shortcut.plants:
        return "no --shortcut is planted"
    return None


def of_run(players: Players, judging: Judging) -> Cue:
    """What judges read of the cue itself, of several each; or why nobody was asked: there is none (`why_none`), or too few images."""
    if min(map(len, splits_of(players).values())) < 2:
        return Cue(none="a split has no image to leave the cue out of: there are too few")
    planted = planted_by(players)
    return Cue(key="random", planted={name: _asked(players, judging, planted, name) for name in planted})


def planted_by(players: Players) -> dict[str, tuple[Shortcut, Parameters]]:
    """The cues that a run plants, in their order, each with the classes of its θ."""
    every = each_of(key_name(players.settings.question.shortcut), players.shortcut)
    return {name: (shortcut, parameters_of(players, shortcut)) for name, shortcut in every.items()}


def _asked(players: Players, judging: Judging, planted: Planted, name: str) -> PlantedCue:
    """What judges read of one cue, while any others are there or not, at random."""
    thetas = planted[name][1]
    sets = _sets(players, planted, name)
    test = sets["test"]
    both = {"forensic": Forensic(players.fabric.device)}
    of = "" if len(planted) == 1 else f", {name}"

    def ask(what: str, count: int, answer: str, half: str) -> tuple[Answered, dict[str, Array]]:
        raw, lensed = (
            {split: _pictures(part, half + kind, answer) for split, part in sets.items()} for kind in ("raw", "lensed")
        )
        asked = Asked(what + of, raw, lensed, count, test.group, quality.psnr(float(test.error.mean())))
        return reading.compared(asked, judging, lambda architecture: judging.fresh(architecture, count), both=both)

    presence, right = ask("the cue's presence", 2, "carries", "half_")
    mine = test.carries
    rows = [mine & (test.kind == k) for k in range(thetas.classes)]
    if thetas.classes == 1:
        theta = Answered(none="every θ plants the same")
    elif min(len(np.unique(part.kind)) for part in (sets["train"], test)) == 1:
        theta = Answered(none="there are too few images")
    else:
        theta, _ = ask("which cue it is", thetas.classes, "kind", "")
    return PlantedCue(
        classes=thetas.classes,
        native=thetas.native,
        by_theta={kind: [float(each[r].mean()) if r.any() else None for r in rows] for kind, each in right.items()},
        change={"without": float(test.error[~mine].mean()), "with": float(test.error[mine].mean())},
        presence=presence,
        theta=theta,
        bound=bound_of(players, test),
    )


def bound_of(players: Players, test: CueSet) -> Bound:
    """What any classifier reads of the cue's presence at most: the images with it and without it that the lens leaves different.

    Presence is drawn anew for each image, whatever the run's task and key are, and the lens's draws are shared by the pair.
    """
    if unknown := begun_with.why_unknown(players):
        return Bound(none=unknown)
    if choices.network_of(players) is not None:
        return Bound(none="the lens draws what it hides: that is replayed of the source alone")
    return bounds.bound(test.apart[None], test.group)


def parameters_of(players: Players, shortcut: Shortcut) -> Parameters:
    """The classes of θ: those of a run's own images under the key `label`, else those of the shortcut."""
    if players.carried is not None:
        return parameters.of_classes(len(classes.pooled(players.images)[1]))
    return parameters.of(shortcut)


def _pictures(part: CueSet, kind: str, answer: str) -> Pictures:
    return Pictures(getattr(part, kind), getattr(part, answer).astype(np.int64))


def _sets(players: Players, planted: Planted, name: str) -> dict[str, CueSet]:
    """Train, val and test of the judges, none of which the lens has learnt from, each image with a cue, and half without."""
    splits = splits_of(players)
    with Bar(f"planting {name} anew", sum(map(len, splits.values())), "images") as bar:
        return {
            split: _set(players, planted, name, index, bar, place)
            for place, (split, index) in enumerate(splits.items())
        }


@torch.no_grad()
def _set(players: Players, planted: Planted, name: str, index: Array, bar: Bar, place: int) -> CueSet:
    """One split: the half without a cue is a random one, once and for all."""
    assert players.lens is not None
    players.lens.eval()
    settings = players.settings
    carries = np.zeros(len(index), bool)
    chosen = np.random.default_rng([settings.optimisation.seed, place]).permutation(len(index))
    carries[chosen[: (len(index) + 1) // 2]] = True
    parts: dict[str, list[Array]] = {"kind": [], "error": [], "apart": []}

    def batches() -> Iterator[dict[str, Array]]:
        start = 0
        for batch in players.batches(index, 256):
            mine = torch.from_numpy(carries[start : start + len(batch.index)]).to(batch.index.device)
            start += len(batch.index)
            clean = centre(batch.images, settings.data.image_size).to(next(players.extractor.parameters()).dtype)
            marked, bare, kind = with_and_without(planted, name, clean, batch.draws(settings.optimisation.seed))
            lensed, bare_lensed = (_lensed(players, batch, images) for images in (marked, bare))
            half, half_lensed = (
                torch.where(mine[:, None, None, None], *two) for two in ((marked, bare), (lensed, bare_lensed))
            )
            parts["kind"].append(kind.cpu().numpy())
            parts["error"].append((half_lensed - half).square().mean(dim=(1, 2, 3)).double().cpu().numpy())
            parts["apart"].append((lensed != bare_lensed).flatten(1).any(dim=1).cpu().numpy())
            bar.add(len(batch.index))
            pairs = {"raw": marked, "lensed": lensed, "half_raw": half, "half_lensed": half_lensed}
            yield {name: rows_of(images) for name, images in pairs.items()}

    pictures = stored(batches(), len(index), settings.data.image_size, cache_dir_of(settings.data))
    found = {name: np.concatenate(values) for name, values in parts.items()}
    return CueSet(**pictures, **found, carries=carries, group=players.images.group[index])


def with_and_without(planted: Planted, name: str, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Images (V, C, H, W) with the cue of this name and without it, at 8 bits, and the class (V,) of its θ.

    Of others that are planted each is there in every second image, at random, with a θ of its own: in both alike.
    """
    marked = bare = clean
    kind = torch.zeros(len(clean), dtype=torch.int64)
    for other, (shortcut, thetas) in planted.items():
        if other == name:
            theta, kind = thetas.drawn(draws)
            marked = shortcut.plant(marked, theta, draws)
            continue
        there = (draws.uniform(f"is {other} there") < 0.5)[:, None, None, None]
        theta, _ = thetas.drawn(draws, f"which {other}")
        marked, bare = (torch.where(there, shortcut.plant(one, theta, draws), one) for one in (marked, bare))
    return quality.to_8_bits(marked), quality.to_8_bits(bare), kind


def _lensed(players: Players, batch: batching.Batch, images: Tensor) -> Tensor:
    """Whole images of a batch through the lens, at 8 bits, each with the draws that it has whatever is planted in it."""
    shown = images.contiguous(memory_format=torch.channels_last)
    return quality.to_8_bits(players.lensed(shown, {}, batch.draws(players.settings.optimisation.seed)))
