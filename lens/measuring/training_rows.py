"""Training rows with what standardises them, read a part at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lens.measuring.feature_store import chunks

Array = np.ndarray[Any, Any]
Device = torch.device | str
Tick = Callable[[], None]
"""Told that another part of a fit is done."""


def summed_loss(inputs: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy of rows (b, F + 1) whose last column is 1, and its gradient (K, F + 1)."""
    logits = inputs @ weights.T
    loss = functional.cross_entropy(logits, target, reduction="sum")
    error = logits.softmax(dim=1)
    error[torch.arange(len(target), device=target.device), target] -= 1
    return loss, error.T @ inputs


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training rows (n, F) with what standardises them, read a part at a time; `classes` are the labels that occur."""

    rows: Array
    label: Array
    classes: Array
    mean: Tensor
    scale: Tensor
    device: Device

    @classmethod
    def of(cls, rows: Array, labels: Array, device: Device) -> Rows:
        """Mean and deviation of each column, in one pass in float64."""
        # About a mean that is nearly right, so that the squares do not cancel.
        shift = np.asarray(rows[:8192], np.float64).mean(axis=0)
        total, squares = np.zeros_like(shift), np.zeros_like(shift)
        for part in chunks(len(rows)):
            apart = np.asarray(rows[part], np.float64) - shift
            total += apart.sum(axis=0)
            squares += np.einsum("nf,nf->f", apart, apart)
        mean = total / len(rows)
        scale = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0))
        scale[scale < 1e-6] = 1
        classes, label = np.unique(labels, return_inverse=True)
        at = [torch.from_numpy(x.astype(np.float32)).to(device) for x in (shift + mean, scale)]
        return cls(rows, label, classes, at[0], at[1], device)

    @property
    def width(self) -> int:
        """F."""
        return int(self.rows.shape[1])

    def standard(self, rows: Array) -> Tensor:
        """Rows (b, F) of any split → standardised, on the device, with a last column of ones: (b, F + 1)."""
        inputs = torch.ones(len(rows), self.width + 1, device=self.device)
        raw = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device).float()
        torch.sub(raw, self.mean, out=inputs[:, :-1])  # never into `raw`, which may be the stored rows themselves
        inputs[:, :-1] /= self.scale
        return inputs

    def target(self, chosen: slice | Array) -> Tensor:
        """The classes' numbers of training rows, (b,) int64 on the device."""
        return torch.from_numpy(self.label[chosen]).to(self.device)

    def loss(self, weights: Array) -> tuple[float, Array]:
        """The mean cross-entropy over all rows and its gradient (K, F + 1), summed in float64."""
        at = torch.from_numpy(weights).float().to(self.device)
        loss = 0.0
        gradient = np.zeros(weights.shape)
        for part in chunks(len(self.rows)):
            one, change = summed_loss(self.standard(self.rows[part]), self.target(part), at)
            loss += float(one)
            gradient += change.cpu().numpy()
        return loss / len(self.rows), gradient / len(self.rows)

    def right(self, weights: Array, rows: Array, labels: Array) -> Array:
        """Which rows of another split are given their label, (n,) bool; a label that training lacks never is."""
        at = torch.from_numpy(weights).float().to(self.device)
        answers = [(self.standard(rows[part]) @ at.T).argmax(dim=1).cpu().numpy() for part in chunks(len(rows))]
        return np.asarray(self.classes[np.concatenate(answers)] == labels)
