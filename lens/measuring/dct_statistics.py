"""What compression leaves in an image: statistics of its blocks' DCT, of its grid, and of its change under re-encoding.

Letters: B images, H W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lens.operations import dct
from lens.operations.jpeg import TO_YCC, compressed, tables

QUALITIES = (10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95)
"""libjpeg's qualities whose tables' combs are looked for."""
STEPS = (2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 22, 24, 26, 29, 32, 40)
"""Steps of quantisation that are looked for whatever the table."""
AGAIN = (20, 40, 60, 75, 90)
"""Qualities at which an image is encoded again."""


def statistics(images: Tensor) -> dict[str, Tensor]:
    """Statistics of images (B, 3, H, W), levels 0 to 255, by name: each (B, …) float.

    Of every frequency of luminance and of the two chromas together: mean magnitude and share of zeros; combs: the mean of
    cos(2π c/q) over coefficients |c| > q/2, which is 1 where all are multiples of the step q and 0 where they are not
    (after Fridrich, Goljan 2003: histograms of doubly compressed coefficients).
    """
    ycc = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_YCC), images)
    blocks = dct.blockwise(ycc - ycc.new_tensor([128, 0, 0])[:, None, None]).flatten(2, 3)  # (B, 3, blocks, 8, 8)
    found: dict[str, Tensor] = {}
    for name, part in (("luminance", blocks[:, 0]), ("chroma", blocks[:, 1:].flatten(1, 2))):
        size = part.abs()
        found[f"{name}_magnitude"] = (size.mean(dim=1) + 0.01).log()
        found[f"{name}_deviation"] = size.std(dim=1, unbiased=False) / (size.mean(dim=1) + 0.01)
        found[f"{name}_zeros"] = (size < 0.5).to(size.dtype).mean(dim=1)
    whole = blocks[:, 0].abs().round()
    found["luminance_small"] = torch.stack([(whole == level).float().mean(dim=(1, 2, 3)) for level in range(9)], dim=1)
    found |= _combs(blocks) | _grid(ycc) | _again(images)
    return found


def _combs(blocks: Tensor) -> dict[str, Tensor]:
    """How well coefficients (B, 3, blocks, 8, 8) fit the multiples of each quality's table, and of each step."""
    table = tables(torch.tensor(QUALITIES, device=blocks.device)).to(blocks.dtype)
    fits = [_comb(blocks, steps[:, None]) for steps in table]
    luminance = torch.stack([_mean(fit[:, :, 0]) for fit in fits], dim=1)
    chroma = torch.stack([_mean(fit[:, :, 1:].sum(dim=2)) for fit in fits], dim=1)
    alone = [_comb(blocks[:, 0], step) for step in STEPS]
    low = (_order(blocks.device) < 4).to(blocks.dtype)
    return {
        "luminance_table": luminance,
        "chroma_table": chroma,
        "low_steps": torch.stack([_mean(fit * low) for fit in alone], dim=1),
        "high_steps": torch.stack([_mean(fit * (1 - low)) for fit in alone], dim=1),
    }


def _comb(values: Tensor, step: Tensor | int) -> Tensor:
    """Sums over blocks of cos(2π c/q) where |c| > q/2, and their count: coefficients (B, …, blocks, 8, 8) → (2, B, …, 8, 8)."""
    there = (values.abs() > step / 2).to(values.dtype)
    return torch.stack([((values * (2 * math.pi / step)).cos() * there).sum(dim=-3), there.sum(dim=-3)])


def _mean(sums: Tensor) -> Tensor:
    """Sums and counts (2, B, 8, 8) → the mean of each image (B,), 0 where nothing was counted."""
    total, count = sums.sum(dim=(2, 3)).unbind()
    return total / count.clamp(min=1)


def _order(device: torch.device) -> Tensor:
    """The sum (8, 8) of the vertical and the horizontal frequency."""
    n = torch.arange(8, device=device)
    return n[:, None] + n[None]


def _grid(ycc: Tensor) -> dict[str, Tensor]:
    """Blockiness: steps between neighbours at each of the grid's eight offsets against the mean of all, down and across."""
    found = {}
    for name, part in (("luminance", ycc[:, :1]), ("chroma", ycc[:, 1:])):
        for way, turned in (("down", part), ("across", part.transpose(2, 3))):
            steps = turned.diff(dim=2).abs().mean(dim=(1, 3))  # (B, H − 1)
            phase = torch.arange(steps.shape[1], device=steps.device) % 8
            sums = torch.stack([(steps * (phase == offset)).sum(dim=1) for offset in range(8)], dim=1)
            count = torch.bincount(phase, minlength=8).clamp(min=1)
            found[f"{name}_grid_{way}"] = sums / count / (steps.mean(dim=1, keepdim=True) + 0.01)
    return found


def _again(images: Tensor) -> dict[str, Tensor]:
    """What encoding images (B, 3, H, W) once more changes: log mean square of luminance and colour, share of unchanged pixels."""
    change, same = [], []
    for quality in AGAIN:
        again = compressed(images / 255, torch.full((len(images),), quality, device=images.device))
        error = (again * 255).round() - images
        change.append((error.square().mean(dim=(2, 3)) + 0.01).log())
        same.append((error.abs() < 0.5).all(dim=1).to(images.dtype).mean(dim=(1, 2)))
    return {"encoded_again": torch.stack(change, dim=1), "encoded_again_same": torch.stack(same, dim=1)}
