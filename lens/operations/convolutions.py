"""Convolutions that small networks of our own are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3×3 convolution, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """A layer whose weights and biases are zero: as the last one of a lens, which begins as the identity."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def blurred(images: Tensor, reach: int = 1) -> Tensor:
    """The mean over the (2·reach + 1)² pixels around each, the edge repeated: same shape."""
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * reach + 1, stride=1)
