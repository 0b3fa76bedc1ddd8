"""Runs that last seconds: their settings, what they leave, and how their pictures are left out."""

import io
import itertools
from pathlib import Path

import PIL.Image
import pytest
import torch

from lens.base.draws import Draws
from lens.base.files import write_atomically
from lens.figures import run as figures
from lens.measuring import logistic
from lens.players.lens import LearnedLens
from lens.protocols.lookup import find

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

TINY = [
    "--extractor", "all_conv", "--lens.depth", "3", "--image_size", "16", "--cache_image_size", "18", "--batch_size", "4",
    "--steps", "6", "--log_every", "2", "--val_every", "3", "--checkpoint_every", "2", "--val_images", "8",
    "--threads", "1", "--device", "cpu",
]  # fmt: skip

LAYERED = [*TINY, "--extractor", "test_resnet", "--image_size", "32", "--cache_image_size", "36"]
"""The same with a ResNet, which has a root and inner layers, at twice the side: twice as slow."""

SUMMARY = {
    "task": "rotation", "data": "./photos", "shortcut": "none", "lens": "none", "seed": 0, "steps": 6, "seconds": 1.0,
    "images_per_second": 3.0, "pretext": {"metric": "accuracy", "images": 8, "chance": 0.25, "clean": 0.5}, "downstream": {},
}  # fmt: skip
"""What a summary.json has at least."""


def fit(words: list[str]) -> list[str]:
    """Words of lens.train without the lens's own settings of TINY, where the words take the lens away, or name several."""
    lens = ["full_res", *(word for before, word in itertools.pairwise(words) if before == "--lens")][-1]
    if lens not in ("none", "fgsm", "random", "jpeg") and "+" not in lens:
        return words
    idle = {"--lens.depth", "--lens.encoder"} | ({"--feed"} if lens == "none" else set())
    return [w for before, w in zip(["", *words], words, strict=False) if w not in idle and before not in idle]


def made_lens(name: str, noise: float = 0.0, grey: str = "keep", **own: object) -> LearnedLens:
    """A lens that plays, of a plug-in with settings of its own."""
    return LearnedLens(find("lens", name)(**own), noise, grey)


def undrawn(patch: pytest.MonkeyPatch) -> None:
    """A run's pictures are files of one pixel: all that is written is written, and a third of a tiny run's time is saved."""
    content = io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(content, "PNG")
    for name in ("edits", "edit_map", "curves"):
        patch.setattr(figures, name, lambda numbers, file: write_atomically(file, content.getvalue()))


PENALTIES = logistic.PENALTIES


def two_penalties(patch: pytest.MonkeyPatch) -> None:
    """Two penalties for a probe to choose from, not seven: a seventh of a tiny run's time is saved."""
    patch.setattr(logistic, "PENALTIES", (1e-2, 1.0))


def draws(count):
    """The draws of so many held-out images, a view each."""
    return Draws(0, -1, torch.arange(count), torch.zeros(count, dtype=torch.int64))


def errors_of_restoring(lens, images, steps=40):
    """The mean squared error of a lens before and after it has learnt for so many steps to give these images back."""
    given, optimizer = draws(len(images)), torch.optim.Adam(lens.parameters(), 5e-3)

    def error():
        return (lens(images, None, lambda: given) - images).square().mean()

    first = error().item()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = error()
        loss.backward()
        optimizer.step()
    return first, loss.item()
