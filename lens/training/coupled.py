"""A task whose loss couples examples, under several ranks."""

from __future__ import annotations

from torch import Tensor

from lens.base.ranks import Ranks
from lens.protocols.task import Question, Task, WrappedTask


class Coupled(WrappedTask):
    """A task whose loss couples examples, asked about those of all ranks together."""

    def __init__(self, task: Task, ranks: Ranks) -> None:
        super().__init__(task)
        self.ranks = ranks

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """The loss of every rank's examples (E of all ranks), the same on each."""
        every = {name: self.ranks.gather(value) for name, value in question.items()}
        return self.task.loss(self.ranks.gather(outputs), every)
