"""Some sources in colour and others grey: what a lens, or a rival, that leaves grey as it is cannot make alike."""

from __future__ import annotations

import torch

from lens.base.terminal import say
from lens.images import batching, data
from lens.operations.grey import without_colour
from lens.players.players import Players

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
    if (
        not players.by_source
        or settings.players.lens_class.fixed
        or settings.players.lens_class.replaces
        or players.lens is None
        or settings.players.lens_grey != "keep"
    ):
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
            f"{images.keys[low]}: --lens_grey keep leaves what is grey as it is, so that this alone tells them apart after any "
            "lens; to let it tint them, give --lens_grey free"
        )
