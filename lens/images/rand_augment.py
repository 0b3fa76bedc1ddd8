"""RandAugment: two operations on each training image, drawn from a list, of one strength, batched on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lens.base.draws import Draws

ROUNDS = 2
DEVIATION = 0.5
"""Standard deviation of the magnitude, drawn anew for each operation."""
LARGEST = 10.0

Operation = Callable[[Tensor, Tensor], Tensor]
"""Images (B, C, H, W) in [0, 1] and a strength (B,) in [−1, 1] with its sign → images, same range."""


def rand_augment(images: Tensor, magnitude: float, draws: Draws) -> Tensor:
    """Images (B, C, H, W) in [0, 1] → the same after two random operations each, all of `magnitude`, 0 to 10.

    The fourteen operations of Cubuk, Zoph, Shlens, Le (2020, section 3), none left out: identity, autocontrast,
    equalize, rotate, solarize, color, posterize, contrast, brightness, sharpness, shear x and y, translate x and y; each
    as likely, drawn with replacement, and always applied. With magnitude 9 that is "RandAugment (9, 0.5)" of ConvNeXt and
    of Liu & He (2024), whose 0.5 is the deviation of the magnitude, but for three things of theirs: invert and
    solarize-add, which are not on the published list, are not here; they apply each operation in one case of two; their
    posterize keeps 4 to 0 bits, this one 8 to 4 as Cubuk et al. (2019, table 6), so that magnitude 0 changes nothing.
    Autocontrast and equalize have no magnitude. Changes with a direction go either way, as often.
    """
    magnitudes = (magnitude + DEVIATION * draws.normal("rand_augment magnitude", ROUNDS)).clamp(0, LARGEST)
    sign = torch.where(draws.uniform("rand_augment sign", ROUNDS) < 0.5, -1, 1)
    strength = sign * magnitudes / LARGEST
    chosen = draws.integers("rand_augment operation", len(OPERATIONS), ROUNDS)
    order = chosen.argsort(dim=0, stable=True)
    # The one wait for the device: how many images each operation gets, so that an image pays for its own only.
    counts = (chosen[:, :, None] == torch.arange(len(OPERATIONS), device=chosen.device)).sum(dim=0).tolist()
    for turn in range(ROUNDS):
        changed = images.clone()
        for operation, rows in zip(OPERATIONS.values(), torch.split(order[:, turn], counts[turn]), strict=True):
            if len(rows):
                changed[rows] = operation(images[rows], strength[rows, turn])
        images = changed
    return images


def _autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    """Each channel stretched to [0, 1]; a flat one stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images).clamp(0, 1)


def _equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Each channel's histogram of 256 levels made even."""
    from kornia.enhance import equalize

    return equalize(images).clamp(0, 1)


def _rotate(images: Tensor, strength: Tensor) -> Tensor:
    """Up to 30°, about the middle."""
    from kornia.geometry.transform import rotate

    return _on_grey(rotate(images - 0.5, 30 * strength))


def _shear_x(images: Tensor, strength: Tensor) -> Tensor:
    """Rows moved by up to 0.3 px a row."""
    return _shear(images, torch.stack([0.3 * strength, torch.zeros_like(strength)], dim=1))


def _shear_y(images: Tensor, strength: Tensor) -> Tensor:
    """Columns moved by up to 0.3 px a column."""
    return _shear(images, torch.stack([torch.zeros_like(strength), 0.3 * strength], dim=1))


def _shear(images: Tensor, factors_B2: Tensor) -> Tensor:
    from kornia.geometry.transform import shear

    return _on_grey(shear(images - 0.5, factors_B2, align_corners=True))


def _translate_x(images: Tensor, strength: Tensor) -> Tensor:
    """Moved sideways by up to 0.45 of the width (the published 100 of 224 px)."""
    return _translate(images, torch.stack([0.45 * images.shape[3] * strength, torch.zeros_like(strength)], dim=1))


def _translate_y(images: Tensor, strength: Tensor) -> Tensor:
    """Moved up or down by up to 0.45 of the height."""
    return _translate(images, torch.stack([torch.zeros_like(strength), 0.45 * images.shape[2] * strength], dim=1))


def _translate(images: Tensor, pixels_B2: Tensor) -> Tensor:
    from kornia.geometry.transform import translate

    return _on_grey(translate(images - 0.5, pixels_B2))


def _on_grey(shifted: Tensor) -> Tensor:
    """Back to [0, 1]; what came from outside the image is 0 before and grey after."""
    return (shifted + 0.5).clamp(0, 1)


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    """Levels of 256 · (1 − |strength|) and above inverted."""
    threshold = 256 / 255 * (1 - strength.abs())[:, None, None, None]
    return torch.where(images < threshold, images, 1 - images)


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    """The upper 8 to 4 bits kept of 8."""
    # Not kornia's: it cuts levels off after dividing by 255, and a level that comes out a hair lower loses a step.
    step = 2 ** (4 * strength.abs()).round()[:, None, None, None]
    return torch.where(step > 1, (images * 255).round().div(step, rounding_mode="floor") * step / 255, images)


def _color(images: Tensor, strength: Tensor) -> Tensor:
    """Saturation times 1 ± 0.9."""
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    return adjust_saturation_with_gray_subtraction(images, 1 + 0.9 * strength)


def _contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Distance from the mean grey times 1 ± 0.9."""
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    return adjust_contrast_with_mean_subtraction(images, 1 + 0.9 * strength)


def _brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Times 1 ± 0.9."""
    return (images * (1 + 0.9 * strength)[:, None, None, None]).clamp(0, 1)


def _sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Distance from the smoothed image times 1 ± 0.9."""
    from kornia.enhance import sharpness

    return sharpness(images, 1 + 0.9 * strength)


def _identity(images: Tensor, strength: Tensor) -> Tensor:
    return images


OPERATIONS: dict[str, Operation] = {
    "identity": _identity, "autocontrast": _autocontrast, "equalize": _equalize, "rotate": _rotate,
    "solarize": _solarize, "color": _color, "posterize": _posterize, "contrast": _contrast, "brightness": _brightness,
    "sharpness": _sharpness, "shear_x": _shear_x, "shear_y": _shear_y, "translate_x": _translate_x,
    "translate_y": _translate_y,
}  # fmt: skip
