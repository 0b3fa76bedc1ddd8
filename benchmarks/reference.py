"""Both players' losses, slow and obvious: plain loops over the formula, one player at a time, no shared graph.

What the fast step of `lens.training.step` is held against; it shares no code with it. For rotation, whose question is a class
and whose `present` scales [0, 1] to [−1, 1]. Differentiate `extractor_loss` first: `lens_loss` freezes the extractor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def logits(extractor: Any, pictures: Tensor) -> Tensor:
    """Pictures (V, C, H, W) in [0, 1] → logits (V, K)."""
    found: Tensor = extractor.head(extractor.backbone(pictures * 2 - 1))
    return found


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The mean cross-entropy of logits (V, K) and answers (V,), row by row."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, k in zip(logits, target.tolist(), strict=True):
        total = total - (row[k] - torch.log(torch.exp(row).sum()))
    return total / len(target)


def extractor_loss(
    lens: nn.Module, extractor: nn.Module, views: Tensor, target: Tensor, feed: str, batch_norm: str
) -> Tensor:
    """What the extractor minimises on views (V, C, H, W) in [0, 1], the lens held still."""
    with torch.no_grad():
        lensed = lens(views).clamp(0, 1)
    if feed == "lensed":
        return cross_entropy(logits(extractor, lensed), target)
    if batch_norm == "separate":
        raw = cross_entropy(logits(extractor, views), target)
        return 0.5 * raw + 0.5 * cross_entropy(logits(extractor, lensed), target)
    both = logits(extractor, torch.cat([views, lensed]))
    return cross_entropy(both, torch.cat([target, target]))


def lens_loss(
    lens: nn.Module,
    extractor: nn.Module,
    views: Tensor,
    target: Tensor,
    adversary: str,
    feed: str,
    batch_norm: str,
    recon_weight: float,
) -> Tensor:
    """What the lens minimises on views (V, C, H, W) in [0, 1]; the extractor's parameters are frozen, and stay so."""
    for parameter in extractor.parameters():
        parameter.requires_grad_(False)
    moved = lens(views)
    outside = (moved.detach() < 0) | (moved.detach() > 1)
    shown = torch.where(outside, moved.detach().clamp(0, 1) + (moved - moved.detach()), moved)
    if feed == "both" and batch_norm == "joint":
        seen = logits(extractor, torch.cat([views, shown]))[len(views) :]
    else:
        seen = logits(extractor, shown)
    if adversary == "full":
        fooling = -cross_entropy(seen, target)
    elif adversary == "least_likely":
        fooling = cross_entropy(seen, torch.tensor([int(torch.argmin(row)) for row in seen]))
    else:
        classes = seen.shape[1]
        each = [cross_entropy(seen, torch.full_like(target, k)) for k in range(classes)]
        fooling = torch.stack(each).sum() / classes
    error = ((moved - views) ** 2).sum() / views.numel()
    return fooling + recon_weight * error
