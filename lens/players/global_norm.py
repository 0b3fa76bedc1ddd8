"""Batch statistics over the images of all ranks, as one process with the whole batch would see them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, distributed, nn


def synchronise(module: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm below `module` share its statistics between ranks while it trains.

    On GPUs these are torch's synchronised norms, put in by timm's converter: torch's own drops the activation that is
    fused into timm's `BatchNormAct2d`. Those do not exist on the CPU, where the norms keep their place and get a slower
    forward of ours.
    """
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for norm in module.modules():
        if getattr(norm, "running_mean", None) is not None:
            norm.forward = functools.partial(_forward, norm, norm.forward)
    return module


def _forward(norm: Any, local: Any, inputs: Tensor) -> Tensor:
    """Batch norm (Ioffe, Szegedy 2015, algorithm 1) with mean and variance over all ranks' rows of equal number."""
    # A cumulative average is a re-estimation, which every rank makes on the same images. (torch's norms on GPUs share it all
    # the same: only the variance's n / (n − 1) differs.)
    if not norm.training or norm.momentum is None:
        return local(inputs)  # type: ignore[no-any-return]
    every = [dim for dim in range(inputs.dim()) if dim != 1]
    shape = [1, -1] + [1] * (inputs.dim() - 2)
    count = inputs.numel() // inputs.shape[1] * distributed.get_world_size()
    wide = inputs.float() if inputs.dtype in (torch.bfloat16, torch.float16) else inputs
    mean = _Sum.apply(wide.sum(dim=every)) / count
    centred = wide - mean.reshape(shape)
    variance = _Sum.apply(centred.square().sum(dim=every)) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    outputs: Tensor = centred * torch.rsqrt(variance + norm.eps).reshape(shape)
    if norm.affine:
        outputs = outputs * norm.weight.reshape(shape) + norm.bias.reshape(shape)
    outputs = outputs.to(inputs.dtype)
    if hasattr(norm, "drop"):  # timm's BatchNormAct2d goes on with these two
        outputs = norm.act(norm.drop(outputs))
    return outputs


class _Sum(torch.autograd.Function):
    """The sum over ranks. Every rank's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
