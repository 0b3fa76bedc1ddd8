"""A forensic judge: boosted trees on descriptors of how images were acquired and stored; seconds where a network needs minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.bar import Bar
from lens.base.errors import BadInput
from lens.measuring import dct_statistics
from lens.measuring.judge import JudgeResult, Pictures
from lens.measuring.trees import USUAL, Trees, edges_of, grow, levels_of
from lens.operations import trace_statistics

Array = np.ndarray[Any, Any]
PIXELS = 1 << 19
"""Pixels that are described at a time: what bounds the memory, whatever the number of images."""


@dataclasses.dataclass(frozen=True)
class Forensic:
    """The judge that trees on descriptors are (`judge.Judge`); images are described on `device`."""

    device: torch.device | str = "cpu"
    trees: Trees = USUAL

    @property
    def name(self) -> str:
        """What tables call it."""
        return "forensic trees"

    def read(self, pictures: dict[str, Pictures], seed: int, what: str) -> JudgeResult:
        """Describe all pictures, with a bar; then as `judge`."""
        total = sum(len(shown.answer) for shown in pictures.values())
        with Bar(f"{what}: {self.name}", total, "images") as bar:
            rows = {split: described(shown.images, self.device, bar.add)[0] for split, shown in pictures.items()}
        return judge_rows(rows, {split: shown.answer for split, shown in pictures.items()}, seed, self.trees)


def described(
    images: Array, device: torch.device | str = "cpu", advance: Callable[[int], None] = lambda more: None
) -> tuple[Array, list[str]]:
    """Images (n, H, W, 3) uint8 → descriptors (n, D) float32, and their D names (`luminance_zeros[0,3]`).

    A row depends on its own image alone. Raises BadInput for images below 8 px: they hold no block.
    """
    if min(images.shape[1:3]) < 8 or images.shape[3] != 3:
        raise BadInput(
            f"images of {'×'.join(map(str, images.shape[1:]))}: descriptors need three channels and 8 px or more"
        )
    size = max(1, PIXELS // (images.shape[1] * images.shape[2]))
    found: Array | None = None
    names: list[str] = []
    for start in range(0, len(images), size):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).to(device)
        columns = _statistics(part.permute(0, 3, 1, 2).float().contiguous())
        rows = torch.cat([values.flatten(1) for values in columns.values()], dim=1).float().cpu().numpy()
        if found is None:
            names = [name for key, values in columns.items() for name in _names(key, values.shape[1:])]
            found = np.empty((len(images), len(names)), np.float32)
        found[start : start + size] = rows
        advance(len(rows))
    if found is None:
        raise BadInput("no image to describe: give at least one")
    return found, names


@torch.no_grad()
def _statistics(images: Tensor) -> dict[str, Tensor]:
    """All statistics of images (B, 3, H, W), levels 0 to 255, by name: (B, …) each."""
    found = dct_statistics.statistics(images)
    for more in (trace_statistics.colour, trace_statistics.noise, trace_statistics.spectrum):
        new = more(images)
        assert not found.keys() & new.keys()
        found |= new
    return found


def _names(key: str, shape: tuple[int, ...]) -> list[str]:
    """The names of a statistic's columns: its own, with the place in brackets where it has several."""
    return [f"{key}[{','.join(map(str, place))}]" if shape else key for place in np.ndindex(*shape)]


def judge(
    pictures: dict[str, Pictures], seed: int, trees: Trees = USUAL, device: torch.device | str = "cpu"
) -> JudgeResult:
    """Grow trees on the pictures of `train`, stop on those of `val`, answer about those of `test`.

    The classes count equally. `steps` are the trees of each class that are kept: those with the lowest loss on validation,
    whose balanced accuracy is `validation`; `plateau` tells that more of them were not better. Raises BadInput where
    training has one class only.
    """
    rows = {split: described(shown.images, device)[0] for split, shown in pictures.items()}
    return judge_rows(rows, {split: shown.answer for split, shown in pictures.items()}, seed, trees)


def judge_rows(rows: dict[str, Array], answer: dict[str, Array], seed: int, trees: Trees = USUAL) -> JudgeResult:
    """The same of descriptors (n, D) and answers (n,) of the three splits: several questions about images described once."""
    edges = edges_of(rows["train"])
    levels = {split: levels_of(values, edges) for split, values in rows.items()}
    grown = grow(levels, answer, seed, trees)
    return JudgeResult(grown.answers, grown.validation, grown.loss, grown.steps, grown.plateau)
