"""A network that says where a mark is, and erases one box there, or at a random place where it finds none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.operations.convolutions import blurred, zeroed
from lens.operations.erasing import boxes, erased

FOUND = 0.5
"""The share of the map's probability that must lie around its highest place for a mark to count as found."""
WANDER = 0.25
"""The share of training views whose box falls at a random place, whatever the map says: both players see what it misses."""
PULL = 0.005
"""Weight of the entropy of the map's places in the lens's loss, in nats: where nothing is gained it stays flat."""
LARGEST = 1024
"""Rows and columns of places whose law is kept."""
KEPT = 1 - 1 / 4096
"""What is left of a found place's weight in that law with every further one."""


class PlaceMap(nn.Module):
    """How much speaks for a mark around each pixel: (V, 3, H, W) in [−1, 1] → (V, 1, H, W), at first 0 everywhere.

    Dilated 3×3 convolutions (Yu, Koltun 2016) and no pooling: but for the border a shifted image has a shifted map, so that
    where a box falls depends on the mark's place alone. It sees 2**depth pixels and one more on each side.
    """

    def __init__(self, depth: int, width: int = 16) -> None:
        super().__init__()
        dilations = [1, *(1 << level for level in range(depth)), 1]
        layers: list[nn.Module] = []
        for number, dilation in enumerate(dilations):
            conv = nn.Conv2d(width if number else 3, width, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, zeroed(nn.Conv2d(width, 1, 1)))

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W) → (V, 1, H, W)."""
        found: Tensor = self.layers(inputs)
        return found


class Eraser(nn.Module):
    """Views (V, 3, H, W) in [0, 1] → the same with one box of each erased.

    Shares of the image's sides: the box is `height` by `width`, and what is erased reaches `margin` further on all sides.
    `rows` and `columns` are how often a mark was found there of late: where none is found, the box falls by the same law,
    its row and its column independent of each other. What they lack to 1 is spread evenly.
    """

    rows: Tensor
    columns: Tensor
    share: float = 1.0
    """The share of a batch's loss that is that of one call, where a batch is taken in parts: the pull is scaled as well."""

    def __init__(self, depth: int, height: float, width: float, margin: float) -> None:
        super().__init__()
        self.map = PlaceMap(depth)
        self.shares = (height, width, margin)
        self.register_buffer("rows", torch.zeros(LARGEST))
        self.register_buffer("columns", torch.zeros(LARGEST))

    def sizes(self, views: Tensor) -> tuple[int, int, int]:
        """The box's height and width and its margin in pixels."""
        rows, columns = views.shape[-2:]
        height, width, margin = self.shares
        return max(1, round(height * rows)), max(1, round(width * columns)), round(margin * rows)

    def scores(self, views: Tensor) -> Tensor:
        """The logits of the box's places, by its upper left corner: (V, rows, columns).

        Each is the sum of what speaks for a mark in the box, over the root of its area: the box lies best that covers most.
        """
        height, width, _ = self.sizes(views)
        speaks = self.map(views * 2 - 1).float()
        root = math.sqrt(height * width)
        return functional.avg_pool2d(speaks, (height, width), stride=1)[:, 0] * root

    def highest(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scores (V, rows, columns), their highest place in each view (V,), whether that counts as a mark (V,) bool."""
        scores = self.scores(views)
        place = scores.flatten(1).argmax(dim=1)
        around = _around(scores.flatten(1).softmax(dim=1).view_as(scores), place, self.sizes(views))
        return scores, place, around > FOUND

    def law(self, views: Tensor) -> Tensor:
        """The probability of each place of the box (V, P), rows first: the one that is found, or the law of found ones."""
        scores, place, found = self.highest(views)
        rows, columns = self._laws(scores)
        drawn = (rows[:, None] * columns).flatten()
        return torch.where(found[:, None], functional.one_hot(place, len(drawn)).double(), drawn)

    def chosen(self, views: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """A place of that law for each view (V,), and whether it was found there (V,) bool: else it is drawn."""
        scores, place, found = self.highest(views)
        chance = draws.uniform("erase place", 2).double().to(place.device)
        row, column = (
            torch.searchsorted(law.cumsum(0), chance[:, i].contiguous(), right=True).clamp(max=len(law) - 1)
            for i, law in enumerate(self._laws(scores))
        )
        return torch.where(found, place, row * scores.shape[2] + column), found

    def _laws(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The laws of the rows and of the columns of places at which a mark was found, in 64 bits."""
        sizes = zip((self.rows, self.columns), scores.shape[1:], strict=True)
        kept = (functional.pad(buffer.double(), (0, max(0, count - LARGEST)))[:count] for buffer, count in sizes)
        rows, columns = (law + (1 - law.sum()).clamp(min=0) / len(law) for law in kept)
        return rows / rows.sum(), columns / columns.sum()

    @torch.no_grad()
    def _remember(self, scores: Tensor, place: Tensor, found: Tensor) -> None:
        """Add the places that were found in a batch to their law."""
        across, count = scores.shape[2], found.sum()
        for buffer, at in ((self.rows, place // across), (self.columns, place % across)):
            hits = (at[:, None] == torch.arange(LARGEST, device=at.device)) & found[:, None]
            share = hits.sum(dim=0) / count.clamp(min=1)
            buffer.lerp_(share.to(buffer), (1 - KEPT**count).to(buffer))

    def unread(self, views: Tensor, choice: Tensor) -> Tensor:
        """The pixels of each view that are erased at that place: (V, 1, H, W) bool."""
        return self._hole(views, choice)[0]

    def forward(self, views: Tensor, draws: Draws) -> Tensor:
        """Views (V, 3, H, W) in [0, 1] → the same with a box erased; in training at a place drawn from the map."""
        if not self.training:
            with torch.no_grad():
                return self.erased_at(views, self.chosen(views, draws)[0], draws)
        scores, highest, found = self.highest(views)
        self._remember(scores, highest, found)
        scores = _flattened(scores, PULL * self.share)
        shares = scores.flatten(1).softmax(dim=1).view_as(scores)
        count = scores[0].numel()
        chance = -(-draws.uniform("erase chance", count).clamp(min=2**-24).log()).log()  # Gumbel's law
        drawn = (scores.detach().flatten(1) + chance.to(scores)).argmax(dim=1)
        wanders = draws.uniform("erase wanders") < WANDER
        place = torch.where(wanders, draws.integers("erase place", count), drawn)
        with torch.no_grad():
            hard = self.erased_at(views, place, draws)
        height, width, margin = self.sizes(views)
        cover = _cover(shares, height, width, margin)
        soft = cover * (blurred(blurred(views, 3), 3) - views).detach()
        return hard + (soft - soft.detach())

    def erased_at(self, views: Tensor, place: Tensor, draws: Draws) -> Tensor:
        """Views with the box at each one's place (V,) erased, whatever the map says."""
        grain = draws.normal("erase grain", 1, *views.shape[-2:]).to(views)
        return erased(views, *self._hole(views, place), grain)

    def _hole(self, views: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """What is erased at each place (V,): its pixels, its upper and left end, its height and width."""
        rows, columns = views.shape[-2:]
        height, width, margin = self.sizes(views)
        across = columns - width + 1
        top, left = place // across - margin, place % across - margin
        height, width = height + 2 * margin, width + 2 * margin
        return boxes(top, left, height, width, (rows, columns)), top, left, height, width


def _cover(shares: Tensor, height: int, width: int, margin: int) -> Tensor:
    """How much of each pixel is erased if the box is everywhere at once, to its share: (V, 1, H, W)."""
    high, wide = height + 2 * margin, width + 2 * margin
    padded = functional.pad(shares[:, None], (wide - 1, wide - 1, high - 1, high - 1))
    summed = functional.avg_pool2d(padded, (high, wide), stride=1, divisor_override=1)
    rows, columns = shares.shape[1] + height - 1, shares.shape[2] + width - 1
    return summed[..., margin : margin + rows, margin : margin + columns]


def _around(shares: Tensor, place: Tensor, sizes: tuple[int, int, int]) -> Tensor:
    """The probability (V,) of places within a quarter of the box's size of each view's `place`."""
    rows, columns = shares.shape[1:]
    y, x = (torch.arange(size, device=shares.device) for size in (rows, columns))
    near_y = (y - place[:, None] // columns).abs() <= max(1, sizes[0] // 4)
    near_x = (x - place[:, None] % columns).abs() <= max(1, sizes[1] // 4)
    return (shares * near_y[:, :, None] * near_x[:, None, :]).sum(dim=(1, 2))


class _Flattening(torch.autograd.Function):
    """The identity, whose gradient has that of −strength · entropy of the softmax added, a mean over the rows."""

    @staticmethod
    def forward(context: Any, scores: Tensor, strength: float) -> Tensor:
        context.save_for_backward(scores)
        context.strength = strength
        return scores.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scores,) = context.saved_tensors
        logs = scores.flatten(1).log_softmax(dim=1)
        shares = logs.exp()
        entropy = -(shares * logs).sum(dim=1, keepdim=True)
        pull = (shares * (logs + entropy)).view_as(scores)
        return gradient + context.strength / len(scores) * pull, None


def _flattened(scores: Tensor, strength: float) -> Tensor:
    found: Tensor = _Flattening.apply(scores, strength)
    return found
