"""Some sources in colour and others grey: what a lens, or a rival, that leaves grey as it is cannot make alike."""

from __future__ import annotations

import torch

from lens.base.terminal import say
from lens.images import batching, data
from lens.operations.grey import without_colour
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.protocols.lookup import key_name

SAMPLE = 64
"""Training images of each source that are looked at."""
APART = 0.1
"""Difference of two sources' shares of grey images beyond which it is told."""


@torch.no_grad()
def tell(players: Players) -> None:
    """Say where the share of images without colour gives the source away and the lens has to leave it as it is.

    They are the images that the lens is given, with a planted cue. With `--lens_grey keep` what is grey stays grey, and
    nothing that the lens does to the other images makes them exactly grey: the sources stay apart by that alone.
    """
    images, settings = players.images, players.settings
    kept = _kept_by(players)
    if not players.by_source or not kept:
        return
    shares = []
    for source in range(len(images.keys)):
        index = data.sample_of(images.indices("train", source), SAMPLE, settings.optimisation.seed, "grey")
        views, _, _ = players.views(batching.gather(images, index, 0).to(players.fabric.device), training=False)
        shares.append(float(without_colour(views).float().mean()))
    low, high = (shares.index(end) for end in (min(shares), max(shares)))
    if shares[high] - shares[low] > APART:
        say(
            f"{100 * shares[high]:.0f} of 100 pictures of {images.keys[high]} are grey, {100 * shares[low]:.0f} of "
            f"{images.keys[low]}: {' and '.join(f'--{key} keep' for key in kept)} leaves what is grey as it is, so that this alone "
            f"tells them apart after any lens; to let it tint them, give {' '.join(f'--{key} free' for key in kept)}"
        )


def _kept_by(players: Players) -> list[str]:
    """The settings that leave grey as it is: the lens's own, and that of a stage beside it."""
    settings, lens = players.settings, players.lens
    if lens is None or settings.players.lens_class.fixed or settings.players.lens_class.replaces:
        return []
    found = ["lens_grey"] if settings.players.lens_grey == "keep" else []
    if isinstance(lens, LearnedLens):
        stages = zip(settings.players.lens.split("+"), [*lens.before, None, *lens.after], strict=True)
        keeping = [key_name(name) for name, stage in stages if stage and getattr(stage.plugin, "grey", "") == "keep"]
        found += [f"lens.{name}.grey" for name in keeping]
    return found
