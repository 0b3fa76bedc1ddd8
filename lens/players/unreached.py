"""Parameters that a network's outputs do not depend on."""

from __future__ import annotations

from torch import Tensor, nn


def freeze_unreached(module: nn.Module, outputs: Tensor) -> None:
    """Ask for no gradient of the parameters that `outputs` do not depend on: several ranks would wait for it for ever."""
    outputs.sum().backward()  # type: ignore[no-untyped-call]
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None
