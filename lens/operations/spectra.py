"""The power spectrum of images, and what is left of them below and above a frequency."""

from __future__ import annotations

import torch
from torch import Tensor


def distances(height: int, width: int, device: torch.device) -> Tensor:
    """How far from zero each frequency of a transform is, in cycles a pixel: (H, W), at most √½."""
    y, x = (torch.fft.fftfreq(size, device=device) for size in (height, width))
    found: Tensor = torch.hypot(y[:, None], x[None])
    return found


def power(grey: Tensor) -> Tensor:
    """The power (B, H, W) of images (B, H, W) without their mean, under a Hann window, so that borders do not leak."""
    high, wide = grey.shape[-2:]
    window = torch.hann_window(high, periodic=False, device=grey.device)[:, None]
    window = window * torch.hann_window(wide, periodic=False, device=grey.device)[None]
    window = window / window.square().mean().sqrt()
    found: Tensor = torch.fft.fft2((grey - grey.mean(dim=(1, 2), keepdim=True)) * window, norm="ortho")
    return found.abs().square()


def rings(powers: Tensor, count: int) -> Tensor:
    """Power (B, H, W) → its log mean in `count` rings of equal width from 0 to ½ cycle a pixel: (B, count).

    A ring that holds no frequency, of a small image, repeats the one before.
    """
    ring = (distances(powers.shape[1], powers.shape[2], powers.device) * (2 * count)).long()
    found: list[Tensor] = []
    for number in range(count):
        inside = ring == number
        found.append(powers[:, inside].mean(dim=1) if inside.any() else found[-1])
    return (torch.stack(found, dim=1) + 1e-8).log()


def sectors(powers: Tensor, count: int) -> Tensor:
    """Power (B, H, W) → the share of it in `count` directions, from across to down and back: (B, count)."""
    y, x = (torch.fft.fftfreq(size, device=powers.device) for size in powers.shape[-2:])
    turn = torch.atan2(y[:, None], x[None]).remainder(torch.pi) * (count / torch.pi)
    sector = (turn + 0.5).long() % count
    near = distances(powers.shape[1], powers.shape[2], powers.device)
    used = (near > 0) & (near <= 0.5)
    sums = torch.stack([(powers * (used & (sector == number))).sum(dim=(1, 2)) for number in range(count)], dim=1)
    return sums / sums.sum(dim=1, keepdim=True).clamp(min=1e-12)


def banded(grey: Tensor, radius: float, low: bool) -> Tensor:
    """Images (B, 1, H, W) with the frequencies up to `radius` cycles a pixel alone (`low`), or all others: not clipped.

    An ideal filter of the Fourier transform (Zeng, Yin & Liu 2024, section 3). Both together give the image.
    """
    inside = distances(grey.shape[2], grey.shape[3], grey.device) <= radius
    kept: Tensor = torch.fft.ifft2(torch.fft.fft2(grey) * (inside if low else ~inside))
    return kept.real


def stretched(images: Tensor) -> Tensor:
    """Each image (B, C, H, W) brought to [0, 1] by its own least and greatest value; a flat one is 0."""
    least, most = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    span = most - least
    # Rounding of a transform is no picture: a flat image stays flat.
    return torch.where(span > 1e-5, (images - least) / span.clamp(min=1e-5), 0)
