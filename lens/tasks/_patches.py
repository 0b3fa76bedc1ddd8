"""Nine patches of an image, for the tasks that ask how they lie to each other (Doersch et al. 2015)."""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.base.errors import BadInput, check_number

CELLS = 9


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Sizes in pixels: the cell of a 3×3 grid, the patch in it, and how far the patch may move in its cell.

    In shares of the cell, patch = 1 − gap − jitter. Patches of neighbouring cells are at least the gap apart: a
    line that runs on from one patch to the next, or a colour that shifts with the place, tells how they lie.
    """

    cell: int
    patch: int
    jitter: int

    @classmethod
    def of(cls, side: int, gap: float, jitter: float) -> Geometry:
        """For images of `side` px. Raises BadInput where a patch would be smaller than 4 px."""
        check_number("task.gap", gap, low=0, high=1)
        check_number("task.jitter", jitter, low=0, high=1)
        cell = side // 3
        moves, apart = round(cell * jitter), round(cell * gap)
        patch = cell - moves - apart
        if patch < 4:
            raise BadInput(
                f"--task.gap {gap:g} and --task.jitter {jitter:g} leave patches of {patch} px in cells of {cell} px: "
                "4 px are the least; lower them or raise --image_size"
            )
        return cls(cell, patch, moves)

    def corners(self, images: Tensor, draws: Draws) -> Tensor:
        """The upper left corner (row, column) of each patch in each image: (V, 9, 2) int64, row by row of the grid."""
        side = images.shape[-1]
        place = torch.arange(3, device=images.device) * self.cell + (side - 3 * self.cell) // 2
        grid = torch.stack(torch.meshgrid(place, place, indexing="ij"), dim=-1).reshape(1, CELLS, 2)
        fixed = (self.cell - self.patch - self.jitter) // 2
        return grid + fixed + draws.integers("patch", self.jitter + 1, CELLS, 2)


def cut(views: Tensor, corners: Tensor, patch: int) -> Tensor:
    """Views (V, C, H, W) → their patches (V·9, C, patch, patch), image by image."""
    span = torch.arange(patch, device=views.device)
    rows = (corners[..., 0, None] + span)[:, :, None, :, None]
    columns = (corners[..., 1, None] + span)[:, :, None, None, :]
    image = torch.arange(len(views), device=views.device)[:, None, None, None, None]
    channel = torch.arange(views.shape[1], device=views.device)[None, None, :, None, None]
    return rearrange(views[image, channel, rows, columns], "v p c h w -> (v p) c h w")


def nine(images: Tensor, patch: int) -> Tensor:
    """What downstream features are read from: upright images (B, C, H, W) → nine patches each (B·9, C, patch, patch).

    The proportions of Kolesnikov et al. (2019): short side 224, centre crop 192, nine patches of 64.
    """
    short = round(3 * patch * 224 / 192)
    resized = functional.interpolate(images, size=(short, short), mode="bilinear", antialias=True, align_corners=False)
    start = (short - 3 * patch) // 2
    crop = resized[:, :, start : start + 3 * patch, start : start + 3 * patch].clamp(0, 1)
    return rearrange(crop, "b c (i h) (j w) -> (b i j) c h w", i=3, j=3)


def classifier(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """Concatenated embeddings → logits: FC, batch norm, ReLU, dropout 0.5, FC (Kolesnikov et al. 2019)."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)
    )


class Pairs(nn.Module):
    """Patch features (V·9, F) → logits of the eight (centre, neighbour) pairs of each image (V·8, 8)."""

    def __init__(self, features: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, embedding)
        self.classify = classifier(2 * embedding, hidden, CELLS - 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features (V·9, F) → logits (V·8, 8)."""
        patches = rearrange(self.embed(features), "(v p) d -> v p d", p=CELLS)
        centre = patches[:, 4:5].expand(-1, CELLS - 1, -1)
        neighbours = torch.cat([patches[:, :4], patches[:, 5:]], dim=1)
        logits: Tensor = self.classify(rearrange(torch.cat([centre, neighbours], dim=2), "v n d -> (v n) d"))
        return logits


class Puzzle(nn.Module):
    """Patch features (V·9, F) and the orders they are shown in (V·S, 9) → logits of each order (V·S, K)."""

    def __init__(self, features: int, embedding: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, embedding)
        self.classify = classifier(CELLS * embedding, hidden, classes)

    def forward(self, features: Tensor, question: dict[str, Tensor]) -> Tensor:
        """Slot j of a shown order holds patch order[j]: each patch is embedded once, however many orders are shown."""
        patches = rearrange(self.embed(features), "(v p) d -> v p d", p=CELLS)
        order = question["order"]
        image = torch.arange(len(patches), device=order.device).repeat_interleave(len(order) // len(patches))
        logits: Tensor = self.classify(rearrange(patches[image[:, None], order], "e p d -> e (p d)"))
        return logits
