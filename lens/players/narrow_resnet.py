"""`resnet10t_narrow`, the default extractor: a ResNet-10 that two CPU cores train in a minute, registered with timm."""

from __future__ import annotations

from typing import Any

import timm
from timm.models import register_model
from torch import nn

CHANNELS = (16, 32, 64, 128)
"""Channels of its four stages; timm's own resnet10t has 64 to 512, and sixteen times the weights."""


@register_model
def resnet10t_narrow(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """timm's `resnet10t` (He et al. 2016, with the tiered stem of He et al. 2019) with a quarter of its channels.

    Raises RuntimeError for `pretrained`: nobody has published weights of it.
    """
    if pretrained:
        raise RuntimeError("nobody has published weights of resnet10t_narrow")
    model: nn.Module = timm.create_model("resnet10t", **{"channels": CHANNELS} | arguments)
    return model
