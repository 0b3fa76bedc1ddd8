"""The extractor: a timm backbone, a task's head, and a second set of batch-norm statistics for lensed images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lens.protocols.task import Question

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Extractor(nn.Module):
    """A timm backbone with the task's head, and with two sets of batch-norm statistics where asked for.

    The backbone's own buffers are the raw set: raw, clean and downstream images use it. The second set belongs to
    lensed images (`--batch_norm separate`).
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, spatial: bool, separate: bool, head_reads_question: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.spatial = spatial
        self.head_reads_question = head_reads_question
        self.find_norms()
        self.lensed_statistics = nn.ModuleList(_Statistics(norm) for norm in (self.norms if separate else []))

    def find_norms(self) -> None:
        """List the modules that keep running statistics; again, where one has been replaced by another kind."""
        modules = [*self.backbone.modules(), *self.head.modules()]
        self.norms: list[Any] = [m for m in modules if getattr(m, "running_mean", None) is not None]

    def features(self, inputs: Tensor) -> Tensor:
        """The extractor's input → pooled features (V, F): what downstream probes read.

        A task that reads the map has trained nothing behind it (some models have layers there): its mean is the feature.
        """
        if self.spatial:
            return self._map(inputs).mean(dim=(2, 3))
        pooled: Tensor = self.backbone(inputs)
        return pooled

    def _map(self, inputs: Tensor) -> Tensor:
        backbone: Any = self.backbone  # timm's methods are not typed
        maps: list[Tensor] = backbone.forward_intermediates(inputs, indices=1, norm=True, intermediates_only=True)
        return maps[-1]

    def forward(self, inputs: Tensor, question: Question | None = None, lensed: bool = False) -> Tensor:
        """The extractor's input → the head's outputs, with the lensed set of statistics if there is one and asked."""
        with self.statistics(lensed):
            features = self._map(inputs) if self.spatial else self.backbone(inputs)
            outputs: Tensor = self.head(features, question) if self.head_reads_question else self.head(features)
            return outputs

    @contextmanager
    def statistics(self, lensed: bool) -> Iterator[None]:
        """Within this context the norms read and update the lensed set."""
        if lensed:
            self._swap()
        try:
            yield
        finally:
            if lensed:
                self._swap()

    def use_lensed_statistics(self) -> None:
        """Make the lensed set of statistics the only one."""
        self._swap()
        self.lensed_statistics = nn.ModuleList()

    def _swap(self) -> None:
        for norm, other in zip(self.norms, self.lensed_statistics, strict=False):
            for name in STATISTICS:
                norm._buffers[name], other._buffers[name] = other._buffers[name], norm._buffers[name]


class _Statistics(nn.Module):
    """A second set of a norm's running statistics."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        for name in STATISTICS:
            buffer = norm._buffers[name]
            assert buffer is not None
            self.register_buffer(name, buffer.clone())


@torch.no_grad()
def reestimate_statistics(extractor: Extractor, inputs: Iterator[tuple[Tensor, Question]]) -> None:
    """Replace the raw set of statistics by plain averages over batches of the extractor's input (and their questions).

    With `--feed lensed` the running statistics have only ever seen lensed images; before unlensed images are
    measured, the raw set is estimated on them.
    """
    momenta = [norm.momentum for norm in extractor.norms]
    was_training = extractor.training
    extractor.eval()
    for norm in extractor.norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for batch, question in inputs:
        extractor(batch, question)
    for norm, momentum in zip(extractor.norms, momenta, strict=True):
        norm.momentum = momentum
    extractor.train(was_training)


def without_backbone(extractor: Extractor) -> nn.Module:
    """The parts of an extractor beside its backbone, under their names in `head.safetensors`."""
    return nn.ModuleDict({"head": extractor.head, "lensed_statistics": extractor.lensed_statistics})
