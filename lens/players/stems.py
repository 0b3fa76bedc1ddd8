"""Other roots of a backbone, for small images and for patches."""

from __future__ import annotations

from typing import Any

from torch import nn

from lens.base.errors import BadInput


def small_stem(model: nn.Module, name: str) -> None:
    """A 3×3 root with stride 1 and no max-pool, as CIFAR's ResNets have it (He et al. 2016, section 4.2)."""
    from timm.layers.std_conv import StdConv2d
    from timm.models.resnet import ResNet
    from timm.models.resnetv2 import ResNetV2

    def root(channels: int, kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
        conv = kind(3, channels, 3, padding=1, bias=False)
        if kind is nn.Conv2d:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        return conv

    backbone: Any = model  # timm's attributes are not typed
    if isinstance(model, ResNet):
        backbone.conv1 = root(backbone.bn1.num_features)
        backbone.maxpool = nn.Identity()
    elif isinstance(model, ResNetV2):
        convolutions = [m for m in backbone.stem.modules() if isinstance(m, nn.Conv2d)]
        kind = StdConv2d if isinstance(convolutions[-1], StdConv2d) else nn.Conv2d
        parts: dict[str, nn.Module] = {"conv": root(convolutions[-1].out_channels, kind)}
        if hasattr(backbone.stem, "norm"):
            parts["norm"] = backbone.stem.norm
        backbone.stem = nn.Sequential()
        for key, part in parts.items():
            backbone.stem.add_module(key, part)
    else:
        raise BadInput(f"--extractor_stem small is for ResNets (resnet*, resnetv2_*); {name} has no root to replace")


def unstrided_root(model: nn.Module, name: str) -> None:
    """The first convolution takes every pixel, as for 64 px patches in Kolesnikov et al. (2019); the max-pool stays."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or max(first.stride) != 2:
        raise BadInput(f"--extractor_stem stride1: {name} has no root convolution of stride 2; try default or small")
    first.stride = (1, 1)
