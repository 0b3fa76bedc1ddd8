"""What processing leaves in an image's levels: the ends of its colours, its noise, its spectrum, its channels' alignment.

Letters: B images, C channels, H W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = ((0, 1), (1, 2), (0, 2))
"""Red with green, green with blue, red with blue."""


def colour(images: Tensor) -> dict[str, Tensor]:
    """Each channel's extremes, mean, deviation and counts at its ends, and the channels' differences, by name: each (B, …).

    Images (B, 3, H, W), levels 0 to 255. Where a shift has clipped, an end is piled up, or empty.
    """
    flat = images.flatten(2)
    low, high = flat.amin(dim=2, keepdim=True), flat.amax(dim=2, keepdim=True)
    apart = torch.stack([flat[:, a] - flat[:, b] for a, b in PAIRS], dim=1)
    used = torch.zeros(*flat.shape[:2], 256, dtype=flat.dtype, device=flat.device).scatter_(2, flat.long(), 1)
    return {
        "least": low[..., 0],
        "greatest": high[..., 0],
        "mean": flat.mean(dim=2),
        "deviation": flat.std(dim=2, unbiased=False),
        "black": _share(flat == 0),
        "white": _share(flat == 255),
        "at_least": _share(flat == low),
        "at_greatest": _share(flat == high),
        "levels": used.sum(dim=2) / (high - low + 1)[..., 0],
        "even": _share(flat % 2 == 0),
        "difference_mean": apart.mean(dim=2),
        "difference_deviation": apart.std(dim=2, unbiased=False),
        "difference_least": apart.amin(dim=2),
        "difference_greatest": apart.amax(dim=2),
        "difference_none": _share(apart == 0),
        "order_of_ends": torch.stack([x[:, a] - x[:, b] for x in (low[..., 0], high[..., 0]) for a, b in PAIRS], dim=1),
    }


def noise(images: Tensor) -> dict[str, Tensor]:
    """The high-pass residual x[−1] − 2 x[0] + x[1], down and across, of images (B, 3, H, W), by name: each (B, …).

    Moments and the histogram of the small ones per channel; how often two neighbours' go together, three classes each
    (after Fridrich, Kodovský 2012, "Rich models", section II); the channels' correlation at every shift of up to one pixel.
    """
    found: dict[str, Tensor] = {}
    for way, axis in (("down", 2), ("across", 3)):
        rest = images.diff(n=2, dim=axis)
        flat = rest.flatten(2)
        square = flat.square().mean(dim=2)
        found[f"noise_{way}"] = (square + 0.01).log()
        found[f"noise_tail_{way}"] = ((flat.square().square().mean(dim=2) + 0.01) / (square.square() + 0.01)).log()
        small = flat.round().clamp(-3, 3)
        found[f"noise_small_{way}"] = torch.stack([_share(small == level) for level in range(-3, 4)], dim=2)
        kind = 1 + (rest > 1).long() - (rest < -1).long()
        along = kind.movedim(axis, 3)
        pair = (along[..., :-1] * 3 + along[..., 1:]).flatten(1)
        found[f"noise_pairs_{way}"] = torch.stack([_share(pair == number) for number in range(9)], dim=1)
    return found | _alignment(images)


def _alignment(images: Tensor) -> dict[str, Tensor]:
    """Correlation of the channels' Laplacians at shifts (−1, 0, 1)² against that at no shift: a shifted channel peaks elsewhere."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(3, 1, 3, 3)
    rest = functional.conv2d(images, kernel, groups=3)
    rest = rest - rest.mean(dim=(2, 3), keepdim=True)
    rest = rest / (rest.square().mean(dim=(2, 3), keepdim=True) + 0.01).sqrt()
    still = rest[:, :, 1:-1, 1:-1]
    high, wide = still.shape[2:]
    found = torch.stack(
        [
            torch.stack(
                [
                    (still[:, a] * rest[:, b, 1 + y : 1 + y + high, 1 + x : 1 + x + wide]).mean(dim=(1, 2))
                    for y in (-1, 0, 1)
                    for x in (-1, 0, 1)
                ],
                dim=1,
            )
            for a, b in PAIRS
        ],
        dim=1,
    )  # (B, pair, shift)
    return {"alignment": found, "alignment_peak": found - found.amax(dim=2, keepdim=True)}


def spectrum(images: Tensor) -> dict[str, Tensor]:
    """Traces of resampling and blur in images (B, 3, H, W), by name: each (B, …).

    Resampling makes the variance of the second derivative periodic (Gallagher 2005): its Fourier magnitude at multiples of
    1/32 of a cycle a pixel. Blur empties the upper bands: the log power of luminance in eight rings.
    """
    grey = images.mean(dim=1)
    found: dict[str, Tensor] = {}
    for way, turned in (("down", grey), ("across", grey.transpose(1, 2))):
        change = turned.diff(n=2, dim=1).abs().mean(dim=2)  # (B, H − 2)
        change = change / (change.mean(dim=1, keepdim=True) + 0.01) - 1
        place = torch.arange(change.shape[1], device=images.device)
        turn = 2 * math.pi * place[:, None] * torch.arange(1, 17, device=images.device)[None] / 32
        found[f"periodic_{way}"] = torch.hypot(change @ turn.cos(), change @ turn.sin()) / change.shape[1]
    power = torch.fft.fft2(grey - grey.mean(dim=(1, 2), keepdim=True), norm="ortho").abs().square()
    y, x = (torch.fft.fftfreq(size, device=images.device) for size in grey.shape[1:])
    ring = (torch.hypot(y[:, None], x[None]) * 16).long().clamp(max=7)
    rings = [power[:, ring == number].mean(dim=1) if (ring == number).any() else power[:, 0, 0] for number in range(8)]
    found["rings"] = (torch.stack(rings, dim=1) + 0.01).log()
    return found


def _share(values: Tensor) -> Tensor:
    """The share of True along the last axis."""
    return values.float().mean(dim=-1)
