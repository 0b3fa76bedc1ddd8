"""Which crops come from the same image? Eight crops of each, embedded and told apart (Dosovitskiy et al. 2014)."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

from lens.base.errors import check_number
from lens.protocols.task import Question, Task, nearer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Exemplar(Task):
    """Exemplar as Kolesnikov, Zhai, Beyer (2019): 8 inception crops of each image, semi-hard triplet loss, margin 0.5.

    A view is a crop at the image's size: area 0.05–1, aspect 3/4–4/3, flip, brightness ±32/255, saturation 0.5–1.5; greyed
    with p = 0.66, and standardised after the lens, unless `--grey` and `--standardise` say otherwise. Distances are
    squared Euclidean between embeddings of unit length over the *feature* axis (the published code normalises over the
    batch, surely unintended). Give it whole images, `--augment none`, or the crops are crops of a crop.
    """

    views: ClassVar[int] = 8
    couples: ClassVar[bool] = True
    grey: ClassVar[float] = 0.66
    standardise: ClassVar[bool] = True

    embedding: int = 1000
    """Width of the embedding."""
    margin: float = 0.5
    """How much nearer a crop of the same image must be, in squared distance (0 to 4 between unit vectors)."""
    least_area: float = 0.05
    """Smallest share of the image that a crop shows."""

    def __post_init__(self) -> None:
        check_number("task.embedding", self.embedding, low=1)
        check_number("task.margin", self.margin, low=0, high=4, open_low=True)
        check_number("task.least_area", self.least_area, low=0, high=1, open_low=True)

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """A crop of each row (V, C, H, W); `target` (V,) is the number of the image it comes from."""
        import torch
        from kornia.enhance import adjust_saturation
        from torchvision.ops import roi_align

        side = images.shape[-1]
        area, aspect, x, y, flip, brightness, saturation = draws.uniform("exemplar", 7).unbind(1)
        area = self.least_area + (1 - self.least_area) * area
        ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3))
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        left, top = x * (1 - width), y * (1 - height)
        row = torch.arange(len(images), device=images.device)
        boxes = torch.stack([row, left * side, top * side, (left + width) * side, (top + height) * side], dim=1)
        crops = roi_align(images, boxes.to(images.dtype), side, sampling_ratio=1, aligned=True)
        crops = torch.where((flip < 0.5)[:, None, None, None], crops.flip(3), crops)
        crops = (crops + ((2 * brightness - 1) * 32 / 255)[:, None, None, None]).clamp(0, 1)
        crops = adjust_saturation(crops, (0.5 + saturation).to(crops.dtype)).clamp(0, 1)
        return crops, {"target": draws.index}

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Scale [0, 1] to [−1, 1]."""
        return views * 2 - 1

    def prepare(self, images: Tensor) -> Tensor:
        """Upright whole images, scaled in the same way."""
        return images * 2 - 1

    def head(self, features: int) -> nn.Module:
        """One linear layer: pooled features (V, F) → embeddings (V, D)."""
        from torch import nn

        return nn.Linear(features, self.embedding)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """Semi-hard triplet loss of each anchor (V,), scaled so that its mean is the mean over all semi-hard triplets.

        A triplet (anchor a, positive p of the same image, negative n of another) is semi-hard where
        d(a, p) < d(a, n) < d(a, p) + margin, and costs max(0, d(a, p) − d(a, n) + margin) (Schroff et al. 2015, eq. 3 and
        section 3.2). Without one the loss is zero. Embeddings of half precision are compared in 32 bits.
        """
        import torch
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import TripletMarginMiner
        from pytorch_metric_learning.reducers import DoNothingReducer

        distance, image = self._distance(), question["target"]
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        triplets = TripletMarginMiner(margin=self.margin, type_of_triplets="semihard", distance=distance)(
            outputs, image
        )
        anchors = triplets[0]
        nothing = outputs.sum(dim=1) * 0
        if not len(anchors):
            return nothing
        measure = TripletMarginLoss(margin=self.margin, distance=distance, reducer=DoNothingReducer())
        each = measure(outputs, image, triplets)["loss"]["losses"]
        return nothing.index_add(0, anchors, each * (len(outputs) / len(anchors)))

    def correct(self, outputs: Tensor, question: Question) -> Tensor:
        """Of two crops, which is of the same image? (V,): 1 right, 0 wrong, 0.5 a tie; a coin gets 0.5.

        Each crop is held against the next crop of its image and the next crop of the next image in the batch. An untrained
        extractor is well above it: like crops give like features before anything is learned.
        """
        from einops import rearrange
        from torch.nn import functional

        unit = rearrange(functional.normalize(outputs, dim=1), "(b v) d -> b v d", v=self.views)
        following = unit.roll(-1, dims=1)
        own, other = ((unit - x).square().sum(dim=2).flatten() for x in (following, following.roll(-1, dims=0)))
        return nearer(own, other)

    def _distance(self) -> Any:
        from pytorch_metric_learning.distances import LpDistance

        return LpDistance(normalize_embeddings=True, p=2, power=2)
