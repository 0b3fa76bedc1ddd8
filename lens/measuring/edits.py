"""A lens's edits of held-out images: some pictures, the mean image and the mean edit map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.draws import generator
from lens.operations import quality
from lens.players.players import Players
from lens.players.rivals import Rival
from lens.protocols.lookup import key_name

Array = np.ndarray[Any, Any]
MAP_IMAGES = 1280
"""Images that the mean edit map averages over (Minderer et al. 2020, figure 3)."""


def squared_edits(images: Tensor, lensed: Tensor) -> Tensor:
    """The squared edit of each pixel, averaged over channels and summed over images (B, C, H, W): (H, W) in 64 bits."""
    return (lensed - images).square().mean(dim=1).double().sum(dim=0)


class Edits:
    """A lens's edits of upright held-out images: some pictures, the mean image and the mean edit map.

    The map is the mean over up to 1,280 of the images at `index` of the per-pixel squared error, averaged over channels,
    without the lens's own noise: the same for all places, it would only level the map.
    """

    def __init__(self, players: Players, index: Array, shown: int = 8) -> None:
        self.players = players
        order = torch.randperm(
            len(index), generator=generator(players.settings.optimisation.seed, 0, "pictures")
        ).numpy()
        self.chosen = index[order[:MAP_IMAGES]]
        self.place = {int(image): place for place, image in enumerate(self.chosen[:shown])}
        self.sums: dict[str, Tensor] = {}
        self.pictures: dict[int, dict[str, Array]] = {}

    def add(self, index: Tensor, clean: Tensor, planted: Tensor, lensed: Tensor, quiet: Tensor) -> None:
        """Add the first views of those images of a batch (B,) that were chosen; all views are (V, C, H, W) in [0, 1].

        What was lensed, and the same without noise (`quiet`), is taken at 8 bits.
        """
        clean, planted, lensed, quiet = (x[:: self.players.task.views] for x in (clean, planted, lensed, quiet))
        lensed, quiet = quality.to_8_bits(lensed), quality.to_8_bits(quiet)
        numbers = index.cpu().numpy()
        mine = torch.from_numpy(np.flatnonzero(np.isin(numbers, self.chosen))).to(planted.device)
        if not len(mine):
            return
        error = squared_edits(planted[mine], quiet[mine])
        for name, value in (("map", error), ("mean_image", planted[mine].double().sum(dim=0))):
            self.sums[name] = self.sums.get(name, 0) + value.cpu()
        for row, number in enumerate(numbers.tolist()):
            if number in self.place:
                named = {"clean": clean, "original": planted, "lensed": lensed}
                self.pictures[self.place[number]] = {
                    name: quality.pixels(views[row : row + 1])[0] for name, views in named.items()
                }

    def arrays(self) -> dict[str, Array]:
        """Pictures (uint8, NHWC), map (H, W) and mean image (H, W, C), of all ranks; every rank must call it."""
        settings = self.players.settings
        every = self.players.ranks.everyone([(self.sums, self.pictures)])
        found = [part for parts in every for part in parts]
        sums = {name: torch.stack([x[name] for x, _ in found if x]).sum(dim=0) for name in ("map", "mean_image")}
        pictures = {place: picture for _, mine in found for place, picture in mine.items()}
        arrays = {
            name: np.stack([pictures[k][name] for k in sorted(pictures)]) for name in ("clean", "original", "lensed")
        }
        return arrays | {
            "map": (sums["map"] / len(self.chosen)).numpy(),
            "mean_image": (sums["mean_image"] / len(self.chosen)).permute(1, 2, 0).numpy(),
            "map_images": np.array(len(self.chosen)),
            "by": np.array(key_name(settings.players.lens) if isinstance(self.players.lens, Rival) else "lensed"),
        }


@torch.no_grad()
def edits_of(players: Players) -> dict[str, Array]:
    """The lens's edits of test images, as `Edits` has them, without asking the task."""
    assert players.lens is not None
    players.lens.eval()
    players.extractor.eval()
    found = Edits(players, players.held_out("test"))
    for batch in players.batches(np.sort(found.chosen), max(1, 128 // players.task.views)):
        clean, _, _ = players.views(batch, training=False, planted=False)
        views, question, _ = players.views(batch, training=False)
        found.add(batch.index, clean, views, *players.lensed_and_quiet(views, question, players.draws(batch)))
    return found.arrays()
