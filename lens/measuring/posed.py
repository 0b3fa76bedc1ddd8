"""A judge's network for a task's own question: an extractor with the task's head, given 8-bit views and what is asked of them."""

from __future__ import annotations

from torch import Tensor, nn

from lens.measuring.judges import parts
from lens.players.building import build_extractor
from lens.players.extractor import Extractor
from lens.protocols.task import Question, Task


class Posed(nn.Module):
    """Views as judges see them, in [−1, 1] (B, C, H, W), and the question → class logits (E, K), as the task presents them."""

    def __init__(self, task: Task, extractor: Extractor) -> None:
        super().__init__()
        self.task = task
        self.extractor = extractor

    def forward(self, inputs: Tensor, question: Question | None = None) -> Tensor:
        """Cut, standardise and scale as the task does; its head then reads the features."""
        asked = question or {}
        return self.task.logits(self.extractor(self.task.present((inputs + 1) / 2, asked), asked))


def build(spec: str, task: Task, image_size: int, stem: str) -> Posed:
    """A freshly initialised network for a task with classes, from torch's current seed; `spec` and `stem` as `judges.build`.

    Raises BadInput for an unknown name, for arguments that it does not take, and for inputs that are too small for it.
    """
    name, arguments = parts(spec)
    return Posed(
        task, build_extractor(task, name, image_size, stem, arguments, pretrained=False, separate=False, flag="judges")
    )
