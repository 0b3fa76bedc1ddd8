"""Which colours has a grey image? The ab channels are predicted from lightness (Zhang et al. 2016)."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, ClassVar, Literal

from lens.base.errors import check_number
from lens.protocols.task import Question, Task, nearer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws

SCALE = 110.0
"""ab is divided by this: sRGB reaches from −108 to 98."""


@dataclasses.dataclass(frozen=True)
class Colorization(Task):
    """Colourisation (Zhang, Isola, Efros 2016): from L of CIE Lab to ab, on a grid of a quarter of the side.

    At 224 px the grid has 56 cells a side, at 96 px 24, at 32 px 8. `regression` is their L2 loss (equation 1), for small
    scale; `bins` the cross-entropy to the bin of the grid cell's mean ab (equation 2, hard targets), rebalanced by the
    bins' frequencies in the batch (equation 4 with λ = 1/2, unsmoothed; theirs are ImageNet's, smoothed). Bins are 10 wide;
    261 of them hold a colour of sRGB (their list has 313).
    The lens edits the colour image, the extractor sees its L in three channels, the answer comes from the raw image.
    """

    spatial: ClassVar[bool] = True
    head_reads_question: ClassVar[bool] = True
    balanced: ClassVar[bool] = False

    target: Literal["regression", "bins"] = "regression"
    """regression: ab itself; bins: a class-rebalanced choice among 261 quantised colours."""
    hidden: int = 256
    """Channels of the head's hidden layer."""

    def __post_init__(self) -> None:
        check_number("task.hidden", self.hidden, low=1)

    @property
    def classes(self) -> int | None:  # type: ignore[override]
        """K, the number of bins, or None under regression."""
        return len(_bins()) if self.target == "bins" else None

    @property
    def couples(self) -> bool:  # type: ignore[override]
        """Whether examples share a loss: the bins' frequencies are the batch's."""
        return self.target == "bins"

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The images; `ab` (V, 2, h, w) in [−1, 1] on the grid; `target` is the same, or each cell's bin (V·h·w,)."""
        from kornia.color import rgb_to_lab
        from torch.nn import functional

        cells = max(1, images.shape[-1] // 4)
        ab = functional.adaptive_avg_pool2d(rgb_to_lab(images)[:, 1:], cells) / SCALE
        return images, {"ab": ab, "target": _nearest_bin(ab) if self.target == "bins" else ab}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """L of each view in three equal channels, scaled to [−1, 1]."""
        return self.prepare(views)

    def prepare(self, images: Tensor) -> Tensor:
        """L of upright images, in the same way."""
        from kornia.color import rgb_to_lab

        lightness: Tensor = rgb_to_lab(images)[:, :1]
        return (lightness / 50 - 1).expand(-1, 3, -1, -1)

    def head(self, features: int) -> nn.Module:
        """Two convolutions on the feature map (V, F, h', w'), brought to the grid: (V, 2, h, w) or (V·h·w, K)."""
        from torch import nn

        from lens.tasks._grid import Grid

        outputs = self.classes or 2
        layers = nn.Sequential(
            nn.Conv2d(features, self.hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(self.hidden, outputs, 1)
        )
        return Grid(layers, flat=self.classes is not None)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Mean squared error of each view (V,), or weighted cross-entropy of each cell (V·h·w,)."""
        import torch
        from torch.nn import functional

        if self.classes is None:
            return (outputs - question["target"]).square().mean(dim=(1, 2, 3))
        target = question["target"]
        share = torch.bincount(target, minlength=self.classes).to(outputs.dtype) / len(target)
        weight = 1 / (0.5 * share + 0.5 / self.classes)
        weight = weight / (share * weight).sum()  # its mean over the batch is 1
        return functional.cross_entropy(outputs, target, reduction="none") * weight[target]

    def correct(self, outputs: Tensor, question: Question) -> Tensor:
        """Under regression: are the colours nearer to this image's than to the next one's in the batch? (V,): 1, 0, 0.5.

        Chance is 0.5: a prediction that knows nothing of its image is as near to either.
        """
        target = question["target"]
        own, other = ((outputs - t).square().mean(dim=(1, 2, 3)) for t in (target, target.roll(-1, dims=0)))
        return nearer(own, other)


@functools.cache
def _bins() -> Tensor:
    """The centres (K, 2) of the bins of ab, 10 wide, that hold a colour of sRGB; in a fixed order, scaled as ab is."""
    import torch
    from kornia.color import rgb_to_lab

    level = torch.linspace(0, 1, 65)
    cube = torch.cartesian_prod(level, level, level).T.reshape(1, 3, -1, 1)
    ab = rgb_to_lab(cube)[0, 1:, :, 0]
    bins: Tensor = torch.unique((ab / 10).round(), dim=1)
    return bins.T.contiguous() * 10 / SCALE


def _nearest_bin(ab: Tensor) -> Tensor:
    """ab (V, 2, h, w) → the number of the nearest bin of each cell (V·h·w,) int64."""
    import torch
    from einops import rearrange

    cells: Tensor = rearrange(ab, "v c h w -> (v h w) c")
    number: Tensor = torch.cdist(cells, _bins().to(cells)).argmin(dim=1)
    return number
