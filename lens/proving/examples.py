"""Test images of every source before and after a lens, for the picture of a proof."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lens.images.data import sample_of
from lens.measuring.edits import squared_edits
from lens.operations import quality
from lens.players.players import Players
from lens.proving.whole import whole

Array = np.ndarray[Any, Any]


@torch.no_grad()
def examples_of(players: Players, each: int = 5) -> dict[str, Array]:
    """Some test images of every source, raw and lensed (K, each, H, W, C) uint8, and each source's mean edit map (K, H, W).

    The map is the mean squared edit over channels and over up to 512 test images of the source, at 8 bits, without the
    lens's own noise (as in `edits.Edits`): the same for all places, it would only level the map. The pictures have it.
    """
    players = whole(players)
    assert players.lens is not None
    players.lens.eval()
    found: dict[str, list[Array]] = {"raw": [], "lensed": [], "map": []}
    for source in range(len(players.images.keys)):
        index = sample_of(
            players.images.indices("test", source), 512, players.settings.optimisation.seed, "removal pictures"
        )
        kept: dict[str, list[Array]] = {"raw": [], "lensed": []}
        total: Array | float = 0.0
        for batch in players.batches(index, 128):
            views, question, _ = players.views(batch, training=False)
            raw = quality.to_8_bits(views)
            exact = players.lensed_and_quiet(raw, question, players.draws(batch))
            lensed, quiet = (quality.to_8_bits(views) for views in exact)
            total = total + squared_edits(raw, quiet).cpu().numpy()
            for kind, images in (("raw", raw), ("lensed", lensed)):
                kept[kind].append(quality.pixels(images[:each]))
        for kind, rows in kept.items():
            found[kind].append(np.concatenate(rows)[:each])
        found["map"].append(np.asarray(total) / len(index))
    shown = min(len(rows) for rows in found["raw"])
    return {
        kind: np.stack([rows[:shown] if kind != "map" else rows for rows in parts]) for kind, parts in found.items()
    }
