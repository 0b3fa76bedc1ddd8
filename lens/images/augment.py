"""From cached uint8 squares to the float images that a step starts from: crops and flips, batched on the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lens.base.draws import Draws


def centre(images: Tensor, size: int) -> Tensor:
    """The centre crop that every measurement sees: uint8 (B, C, H, W) → float in [0, 1], (B, C, size, size)."""
    offset = (images.shape[-1] - size) // 2
    return images[:, :, offset : offset + size, offset : offset + size].float() / 255


def augment(kind: str, images: Tensor, size: int, draws: Draws) -> Tensor:
    """Training images: uint8 (B, C, H, W) at cache size → float in [0, 1], (B, C, size, size).

    `none`: the centre crop. `crop`: a random crop of `size` px and a random flip. `inception`: the preprocessing of
    Kolesnikov et al. 2019: area 0.05–1 and aspect 0.75–1.33, flip, brightness ±32/255, saturation 0.5–1.5. `resized`:
    torchvision's RandomResizedCrop, area 0.08–1 and aspect 3/4–4/3, and a flip. A side that would be longer than the
    image is cut to it, where torchvision draws again: crops of nearly the whole area are a little smaller.
    """
    if kind == "none":
        return centre(images, size)
    flip = draws.uniform("flip") < 0.5
    if kind == "crop":
        room = images.shape[-1] - size
        corner = draws.integers("crop", room + 1, 2)
        span = torch.arange(size, device=images.device)
        rows = (corner[:, 0, None] + span)[:, None, :, None]
        columns = corner[:, 1, None] + span
        columns = torch.where(flip[:, None], columns.flip(1), columns)[:, None, None, :]
        batch = torch.arange(len(images), device=images.device)[:, None, None, None]
        channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        return images[batch, channels, rows, columns].float() / 255
    images = images.float() / 255
    if kind == "resized":
        return _resized_crop(images, size, flip, 0.08, draws.uniform("resized", 4))
    assert kind == "inception", kind
    return _jitter(_resized_crop(images, size, flip, 0.05, draws.uniform("inception", 4)), draws)


def _resized_crop(images: Tensor, size: int, flip: Tensor, least_area: float, uniform_B4: Tensor) -> Tensor:
    area, aspect, x, y = uniform_B4.unbind(1)
    area = least_area + (1 - least_area) * area
    ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3))
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    # affine_grid's frame is [−1, 1]: a crop of width w can move by ±(1 − w).
    zero = torch.zeros_like(width)
    sign = 1 - 2 * flip.to(width.dtype)
    theta = torch.stack(
        [
            torch.stack([width * sign, zero, (2 * x - 1) * (1 - width)], dim=1),
            torch.stack([zero, height, (2 * y - 1) * (1 - height)], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, [len(images), images.shape[1], size, size], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _jitter(images: Tensor, draws: Draws) -> Tensor:
    from kornia.color import rgb_to_grayscale

    brightness, saturation = draws.uniform("jitter", 2).unbind(1)
    images = images + ((2 * brightness - 1) * 32 / 255)[:, None, None, None]
    grey = rgb_to_grayscale(images)
    return (grey + (images - grey) * (0.5 + saturation)[:, None, None, None]).clamp(0, 1)
