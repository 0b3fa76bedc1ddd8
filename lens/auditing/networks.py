"""Networks that judge what a cue leaves of images."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.auditing.answers import Answers, answered
from lens.auditing.reading import draws_of
from lens.auditing.seen import Seen
from lens.base.bar import Bar
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images.splits import SPLITS
from lens.measuring.judge import Pictures
from lens.measuring.judges import Recipe, build, inputs_of, trained
from lens.players.fabric import make_fabric
from lens.settings.groups.machine import MachineSettings

Array = np.ndarray[Any, Any]
QUICK = Recipe(steps=300, least=200, every=50, patience=2, batch=64, sure=20)
"""The one network of the quick budget."""
FULL = Recipe(steps=1500, least=600, sure=20)
ARCHITECTURE = "resnet10t_narrow"
PART = 512
"""Images that are seen at a time."""


@dataclasses.dataclass(frozen=True)
class Networks:
    """How networks are trained, and where."""

    recipe: Recipe
    device: torch.device
    architecture: str = ARCHITECTURE

    def of_cue(self, seen: Seen, name: str, seed: int) -> tuple[Answers, nn.Module]:
        """A network on what the cue `name` leaves of images, and the one that answers about the sources."""
        begin = time.monotonic()
        images = view_of(seen, name, seed)
        models: list[nn.Module] = []

        def asked(source: Array) -> Array:
            pictures = {split: Pictures(images[seen.rows(split)], source[seen.rows(split)]) for split in SPLITS}
            what = f"{name}: network" + ", pseudo-sources" * len(models)
            models.append(self.trained(pictures, len(seen.images.keys), seed, what))
            return odds(models[-1], pictures["test"].images, self.device)

        return answered(seen, name, "network", asked, begin), models[0]

    def trained(self, pictures: dict[str, Pictures], classes: int, seed: int, what: str) -> nn.Module:
        """A fresh network, trained on `train`, chosen by `val`, with a live bar."""
        size = pictures["train"].images.shape[1]

        def make() -> nn.Module:
            return build(self.architecture, classes, size, "default")

        with Bar(what, self.recipe.steps, "steps") as bar:
            found = trained(make, pictures, seed, self.recipe, self.device, contextlib.nullcontext, tell=bar.advance)
        return found[0].eval()

    def seconds(self, seen: Seen) -> float:
        """About how long one network is trained, at most: a few of its steps are timed."""
        size = seen.images.arrays[0].shape[1]
        model = build(self.architecture, len(seen.images.keys), size, "default").to(self.device)
        images = inputs_of(seen.fetch(np.arange(self.recipe.batch) % len(seen.images)), self.device)
        begin, steps = 0.0, 3
        for step in range(steps + 1):
            if step == 1:  # the first one is slower
                begin = time.monotonic()
            loss = model(images).float().square().mean()
            loss.backward()
            loss.item()
        # Beside each training step, validation is asked now and then.
        return 1.2 * self.recipe.steps * (time.monotonic() - begin) / steps


def networks(budget: str, device: str, threads: int | None) -> Networks:
    """Networks for a budget, on a device. Raises BadInput for a device that is not there."""
    fabric = make_fabric(MachineSettings(device=device, threads=threads))
    return Networks(QUICK if budget == "quick" else FULL, fabric.device)


def announce(nets: Networks, seen: Seen, rows: int, left: int) -> None:
    """Say how many rows networks are still to be trained for, and how long that may take, by the time of a few steps."""
    if left:
        minutes = 2 * left * nets.seconds(seen) / 60
        say(
            f"networks: {left} of {rows} rows to do, two networks each (sources, pseudo-sources): about {minutes:.0f} minutes at most; "
            "if it is stopped, the same command goes on where it was"
        )


@torch.no_grad()
def view_of(seen: Seen, name: str, seed: int) -> Array:
    """What a cue leaves of all images, (n, S, S, 3) uint8: grey in three channels, smaller ones with their pixels repeated.

    Raises BadInput for a cue that gives numbers only.
    """
    found = []
    size = seen.images.arrays[0].shape[1]
    for start in range(0, len(seen.images), PART):
        index = np.arange(start, min(start + PART, len(seen.images)))
        squares = torch.from_numpy(seen.fetch(index)).permute(0, 3, 1, 2).contiguous().float() / 255
        view = seen.cues[name].view(squares, draws_of(index, seed))
        if view is None:
            raise BadInput(f"the cue {name} gives numbers only: no network can look at it")
        found.append(_as_squares(view, size))
    return np.concatenate(found)


def _as_squares(view: Tensor, size: int) -> Array:
    if view.shape[-1] != size or view.shape[-2] != size:
        view = functional.interpolate(view, size=(size, size), mode="nearest")
    levels = (view.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())


def has_view(seen: Seen, name: str) -> bool:
    """Whether a cue gives an image that a network can look at."""
    squares = torch.from_numpy(seen.fetch(np.arange(2))).permute(0, 3, 1, 2).float() / 255
    return seen.cues[name].view(squares, draws_of(np.arange(2), 0)) is not None


@torch.no_grad()
def odds(model: nn.Module, images: Array, device: torch.device) -> Array:
    """Probabilities (n, K) of images (n, S, S, 3) uint8."""
    model.eval()
    parts = [
        model(inputs_of(images[start : start + PART], device)).float().softmax(dim=1).cpu().numpy()
        for start in range(0, len(images), PART)
    ]
    return np.concatenate(parts)
