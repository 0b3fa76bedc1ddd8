"""Mixing the views of a training step: mixup, cutmix and smoothed labels, as class probabilities for the task's loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lens.base.errors import BadInput
from lens.protocols.task import Question, Task


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How the views of a training step are mixed; a part that is 0 is off.

    mixup: α of λ ~ Beta(α, α), x = λ·x + (1 − λ)·x' (Zhang et al. 2018). cutmix: the same λ is the share of x that a box
    from x' leaves (Yun et al. 2019, section 3.2). With both, each view gets the one or the other with equal chance: timm
    draws choice and λ once a batch, here every view has its own, so that all strengths are in every step. label_smoothing:
    the share of the answer that is spread evenly over all classes (Szegedy et al. 2016, section 7).
    """

    mixup: float
    cutmix: float
    label_smoothing: float

    @property
    def active(self) -> bool:
        """Whether anything is on."""
        return bool(self.mixup or self.cutmix or self.label_smoothing)

    def check(self, task: Task, name: str, posed: int, question: Question, images: int) -> None:
        """Raise BadInput where the task does not take class probabilities, or a step has no second image.

        `question` is what the task asks about `posed` views of a blank image, `images` how many a process has in a step.
        """
        given = [f"--{field} {value:g}" for field, value in vars(self).items() if value]
        if given and not _reads_probabilities(task, posed, question):
            raise BadInput(
                f"{' and '.join(given)} cannot be used with --task {name}: mixing is for tasks that put each view into one "
                "class by plain cross-entropy, as rotation and labels; leave it out or give such a --task"
            )
        if (self.mixup or self.cutmix) and images < 2:
            raise BadInput(
                f"{given[0]} mixes each image with another and a step has {images} image in a process: give a larger "
                "--batch_size"
            )

    def mix(self, views: Tensor, question: Question, classes: int, images: int, seed: int) -> tuple[Tensor, Question]:
        """Views (V, C, H, W) in [0, 1] of `images` images and `target` (V,) int64 → mixed, `target` (V, K) probabilities.

        What is drawn is a function of `seed`. The partner of a view is one of another image, each of which is partner as
        often as it has views.
        """
        target_VK = functional.one_hot(question["target"], classes).to(views.dtype)
        if self.mixup or self.cutmix:
            rng = np.random.default_rng(seed)
            partner_V = torch.from_numpy(_partners(rng, images, len(views) // images)).to(views.device)
            weight_V1HW = self._weights(rng, len(views), *views.shape[2:]).to(views)
            views = torch.lerp(views[partner_V], views, weight_V1HW)
            own_V1 = weight_V1HW.mean(dim=(2, 3))
            target_VK = torch.lerp(target_VK[partner_V], target_VK, own_V1)
        target_VK = (1 - self.label_smoothing) * target_VK + self.label_smoothing / classes
        return views.contiguous(memory_format=torch.channels_last), question | {"target": target_VK}

    def _weights(self, rng: np.random.Generator, views: int, height: int, width: int) -> Tensor:
        """How much of each pixel is the view's own, (V, 1, H, W): λ everywhere, or 1 outside a box and 0 in it."""
        mixup, cutmix = (rng.beta(a, a, views) if a else np.ones(views) for a in (self.mixup, self.cutmix))
        cut = rng.random(views) < (0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        inside_V1H = _inside(rng, cutmix, height)[:, :, None]
        inside_V1W = _inside(rng, cutmix, width)[:, None, :]
        weight = np.where(cut[:, None, None], 1.0 - (inside_V1H & inside_V1W), mixup[:, None, None])
        return torch.from_numpy(weight[:, None])


def _inside(rng: np.random.Generator, own_share: np.ndarray, side: int) -> np.ndarray:
    """Which pixels of a side are in a box of share √(1 − λ) of it, around a random pixel, cut off at the edges: (V, side)."""
    half = (side * np.sqrt(1 - own_share)).astype(np.int64) // 2
    centre = rng.integers(0, side, len(own_share))
    pixel = np.arange(side)
    inside: np.ndarray = (pixel >= (centre - half)[:, None]) & (pixel < (centre + half)[:, None])
    return inside


def _partners(rng: np.random.Generator, images: int, views: int) -> np.ndarray:
    """For each row, image by image, the row of its partner: all images move on by one draw, views by one an image."""
    # Rotation's views of two images: the same turn of both would be a mixture of pictures with one answer.
    other = (np.arange(images) + rng.integers(1, images)) % images
    view = (np.arange(views) + rng.integers(0, views, (images, 1))) % views
    return (other[:, None] * views + view).reshape(-1)


def _reads_probabilities(task: Task, posed: int, question: Question) -> bool:
    """Whether each view is an example and the task's loss is the cross-entropy to whatever probabilities it is given."""
    if not task.classes or task.couples or task.head_reads_question:
        return False
    target = question.get("target")  # None where it is the data's: one a view
    if set(question) - {"target"} or (target is not None and target.shape != (posed,)):
        return False
    random = torch.Generator().manual_seed(0)
    logits_VK = torch.randn(posed, task.classes, generator=random)
    target_VK = torch.rand(posed, task.classes, generator=random).softmax(dim=1)
    try:
        loss = task.loss(logits_VK, {"target": target_VK})
    except Exception:  # whatever a loss of another kind makes of probabilities
        return False
    wanted = functional.cross_entropy(logits_VK, target_VK, reduction="none")
    return loss.shape == wanted.shape and torch.allclose(loss, wanted, rtol=1e-4)
