"""`all_conv`, an extractor whose first layers are at full resolution, registered with timm."""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from torch import Tensor, nn

from lens.operations.convolutions import block


class AllConv(nn.Module):
    """An all-convolutional network (Springenberg et al. 2015), its first layers at full resolution.

    Without pooling or a coarse root it reads what hides in single pixels, as the networks of image forensics do. Pairs
    of 3×3 layers, each pair at half the side and twice the channels of the one before, from `width` to at most 256
    channels and down to 8 px or less. With `pool` "max" a feature is what its strongest place in the image gives, so that
    a mark somewhere is not outvoted by what a lens paints elsewhere; with "mean" it is the mean over all places.
    """

    def __init__(self, width: int = 16, pool: str = "max", img_size: int | tuple[int, int] | None = None) -> None:
        super().__init__()
        if pool not in ("mean", "max"):
            raise TypeError(f"pool is mean or max, not {pool!r}")
        self.pool, self.width = pool, width
        self.layers = nn.Sequential()
        if img_size is not None:
            self.set_input_size(img_size)

    def set_input_size(self, img_size: int | tuple[int, int]) -> None:
        """Make the layers that images of this side need, anew: how many halvings there are depends on it."""
        side = img_size if isinstance(img_size, int) else img_size[0]
        width = self.width
        layers = [block(3, width), block(width, width)]
        while side > 8:
            wider = min(2 * width, 256)
            layers += [block(width, wider, 2), block(wider, wider)]
            width, side = wider, side // 2
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, C, H, W) → pooled features (V, F)."""
        found: Tensor = self.layers(inputs)
        return found.mean(dim=(2, 3)) if self.pool == "mean" else found.amax(dim=(2, 3))

    def forward_intermediates(
        self, inputs: Tensor, indices: int = 1, norm: bool = True, intermediates_only: bool = True
    ) -> list[Tensor]:
        """The last map (V, F, h, w) alone, as timm's models give it."""
        return [self.layers(inputs)]


FROM_TIMM = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments that `timm.create_model` adds: they are about published weights."""


@register_model
def all_conv(pretrained: bool = False, num_classes: int = 0, **arguments: Any) -> nn.Module:
    """The network without a classifier. Raises RuntimeError for `pretrained`: nobody has published weights of it."""
    if pretrained:
        raise RuntimeError("nobody has published weights of all_conv")
    return AllConv(**{name: value for name, value in arguments.items() if name not in FROM_TIMM})
