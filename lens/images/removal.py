"""Removal by hand, the lens's rival: greying, colour jitter, blur and standardisation, around any task."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from lens.base.draws import Draws
from lens.protocols.task import Question, Task, WrappedTask

LEAST_DEVIATION = 1 / 255
"""Floor of the standard deviation in standardisation: half a level of 8 bits on [−1, 1]."""


@dataclasses.dataclass(frozen=True)
class Removal:
    """What is done to views by hand, all of it batched on the device, drawn anew for each view and epoch.

    grey: probability of showing a view in grey. colour_jitter: strength s; brightness, contrast and saturation times
    1 ± 0.8 s and hue ± 0.2 s of a turn (Chen et al. 2020, appendix A). blur: largest σ in px of a Gaussian, drawn from 0.
    standardise: mean 0 and deviation 1 of each image, or patch, that the extractor is shown, after the lens.
    """

    grey: float
    colour_jitter: float
    blur: float
    standardise: bool

    def before(self, images: Tensor, draws: Draws) -> Tensor:
        """Images (V, C, H, W) in [0, 1] → the same, blurred, jittered and greyed."""
        if self.blur:
            images = _blurred(images, self.blur * draws.uniform("blur"), self.blur)
        if self.colour_jitter:
            images = _jittered(images, self.colour_jitter, draws)
        if self.grey:
            from kornia.color import rgb_to_grayscale

            chosen = (draws.uniform("grey") < self.grey)[:, None, None, None]
            images = torch.where(chosen, rgb_to_grayscale(images), images)
        return images

    def after(self, inputs: Tensor) -> Tensor:
        """The extractor's input (rows, C, h, w) → standardised by row, where asked."""
        if not self.standardise:
            return inputs
        every = (1, 2, 3)
        deviation = inputs.std(dim=every, keepdim=True, correction=0).clamp(min=LEAST_DEVIATION)
        return (inputs - inputs.mean(dim=every, keepdim=True)) / deviation


class ByHand(WrappedTask):
    """A task whose views are treated by hand before it poses its question, and its input after it is presented."""

    def __init__(self, task: Task, removal: Removal) -> None:
        super().__init__(task)
        self.removal = removal

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The task's question about treated images; the answer to a regression is theirs too."""
        return self.task.pose(self.removal.before(images, draws), draws)

    def present(self, views: Tensor, question: Question) -> Tensor:
        """The task's input, standardised where asked."""
        return self.removal.after(self.task.present(views, question))

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images for downstream features: standardised as the extractor knows them, not blurred or greyed."""
        return self.removal.after(self.task.prepare(images))


def by_hand(task: Task, grey: float | None, colour_jitter: float, blur: float, standardise: bool | None) -> Task:
    """The task with removal by hand; None means what its protocol prescribes (`grey` and `standardise` of the task)."""
    removal = Removal(
        task.grey if grey is None else grey,
        colour_jitter,
        blur,
        task.standardise if standardise is None else standardise,
    )
    plain = not (removal.grey or removal.colour_jitter or removal.blur or removal.standardise)
    return task if plain else ByHand(task, removal)


def _blurred(images: Tensor, sigma_V: Tensor, largest: float) -> Tensor:
    """Gaussian blur with a σ of its own for each image; below a tenth of a pixel it changes nothing."""
    from kornia.filters import gaussian_blur2d

    reach = min(math.ceil(3 * largest), images.shape[-1] - 1)
    size = 2 * reach + 1
    sigma = sigma_V.clamp(min=0.1).to(images.dtype)[:, None].expand(-1, 2)
    return gaussian_blur2d(images, (size, size), sigma, border_type="reflect")


def _jittered(images: Tensor, strength: float, draws: Draws) -> Tensor:
    from kornia.enhance import adjust_hue, adjust_saturation

    brightness, contrast, saturation, hue = (2 * draws.uniform("colour jitter", 4) - 1).to(images.dtype).unbind(1)
    change = min(0.8 * strength, 1.0)
    images = (images * (1 + change * brightness)[:, None, None, None]).clamp(0, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (mean + (images - mean) * (1 + change * contrast)[:, None, None, None]).clamp(0, 1)
    images = adjust_saturation(images, 1 + change * saturation).clamp(0, 1)
    return adjust_hue(images, 0.2 * strength * 2 * math.pi * hue).clamp(0, 1)
