"""What is behind the mask? A square region is predicted from its surroundings (Pathak et al. 2016)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import BadInput, check_number
from lens.protocols.task import Question, Task, nearer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Inpainting(Task):
    """Context encoders' reconstruction loss (Pathak et al. 2016, section 3.2; no discriminator here).

    A square of half the side (112 px at 224, 48 at 96, 16 at 32) is hidden in mid-grey after the lens, at a random place.
    Predicted are its colours on a coarse grid of `cells` × `cells`, on the scale of [−1, 1], from the raw image.
    """

    spatial: ClassVar[bool] = True

    size: float = 0.5
    """Side of the hidden square in shares of the image's, above 0 and below 1."""
    cells: int = 8
    """Side of the predicted grid, 1 or more."""
    hidden: int = 512
    """Width of the head's hidden layer."""

    def __post_init__(self) -> None:
        check_number("task.size", self.size, low=0, high=0.95, open_low=True)
        check_number("task.cells", self.cells, low=1)
        check_number("task.hidden", self.hidden, low=1)

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The whole images; `mask` (V, 1, H, W) is 1 where hidden, `target` (V, 3, cells, cells) what is there.

        `raw` (V, 3, H, W) and `corner` (V, 2) are for the choice between two answers.
        """
        import torch

        side = images.shape[-1]
        hidden = round(side * self.size)
        if hidden < self.cells:
            raise BadInput(
                f"--task.cells {self.cells}: the hidden square is only {hidden} px wide; lower it, or raise --task.size"
            )
        corner = draws.integers("mask", side - hidden + 1, 2)
        target = self._behind(images, corner)
        place = torch.arange(side, device=images.device)
        covered = [(place >= c[:, None]) & (place < c[:, None] + hidden) for c in corner.unbind(1)]
        mask = (covered[0][:, :, None] & covered[1][:, None, :])[:, None]
        return images, {"target": target, "mask": mask.to(images.dtype), "raw": images, "corner": corner}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Views scaled to [−1, 1], zero (mid-grey) behind the mask."""
        return (views * 2 - 1) * (1 - question["mask"])

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images without a mask, scaled in the same way."""
        return images * 2 - 1

    def head(self, features: int) -> nn.Module:
        """The feature map on a 4×4 grid, one hidden layer: (V, F, h, w) → (V, 3, cells, cells)."""
        from torch import nn

        return nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(features * 16, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 3 * self.cells**2),
            nn.Unflatten(1, (3, self.cells, self.cells)),
        )

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Mean squared error of each view (V,)."""
        return (outputs - question["target"]).square().mean(dim=(1, 2, 3))

    def correct(self, outputs: Tensor, question: Question) -> Tensor:
        """Is the prediction nearer to this region than to the same place of the next image in the batch? (V,): 1, 0, 0.5.

        Chance is 0.5: a prediction that knows the place and nothing of its image is as near to either.
        """
        others = self._behind(question["raw"].roll(-1, dims=0), question["corner"])
        own, other = ((outputs - t).square().mean(dim=(1, 2, 3)) for t in (question["target"], others))
        return nearer(own, other)

    def _behind(self, images: Tensor, corner: Tensor) -> Tensor:
        """The squares at each row's corner (V, 2), on the grid: (V, 3, cells, cells) in [−1, 1]."""
        import torch
        from einops import rearrange
        from torch.nn import functional

        inside = torch.arange(round(images.shape[-1] * self.size), device=images.device)
        rows, columns = corner[:, 0, None] + inside, corner[:, 1, None] + inside
        image = torch.arange(len(images), device=images.device)
        region = images[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return functional.adaptive_avg_pool2d(rearrange(region, "v h w c -> v c h w"), self.cells) * 2 - 1
