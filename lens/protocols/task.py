"""The interface of a pretext task, what it may say of itself beside, and a task around another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws

Question = dict[str, "Tensor"]


class Task(Protocol):
    """A pretext task in three parts, because some tasks cut and standardise *after* the lens.

    `views` is the number of views of each image: `pose` is handed every image that many times, image by image, with
    `draws.view` counting them. `spatial` tells whether `head` reads the feature map (V, F, h, w) or pooled features
    (V, F). `classes` is K, or None where the target is not a class: such a task may have a method
    `correct(outputs, question)` → (E,), 1 where it chooses rightly between two answers, else 0 (a tie: 0.5).
    A task may also have the traits of `TRAITS`. In the question `target` is the answer, whatever its kind.
    """

    views: ClassVar[int]
    spatial: ClassVar[bool]
    classes: ClassVar[int | None]

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """Images (V, C, H, W) in [0, 1] → views the lens may edit, same range, and what is asked about them.

        With classes the question holds `target` (E,) int64. Everything else that `present` and `loss` need is there
        too, one row a view or an example: a regression's target comes from the images given here, never from the lens.
        """

    def present(self, views: Tensor, question: Question) -> Tensor:
        """Views (V, C, H, W) in [0, 1], raw or lensed → the extractor's input: cut, standardised, scaled."""

    def prepare(self, images: Tensor) -> Tensor:
        """Upright images (B, C, H, W) in [0, 1] → the input for downstream features, as many rows for each image."""

    def head(self, features: int) -> nn.Module:
        """The network on top of the extractor's features, from F features to what `loss` reads."""

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """The head's outputs → one loss per example (E,)."""

    def logits(self, outputs: Tensor) -> Tensor:
        """The head's outputs → class logits (E, K); asked only where `classes` is not None."""


TRAITS: dict[str, Any] = {"answer": None, "head_reads_question": False, "couples": False, "balanced": True, "grey": 0.0, "standardise": False, "defaults": {}}  # fmt: skip
"""What a task may say of itself beside its protocol's members, with the value of one that says nothing.

`answer`: "label" where the answer is the image's label, "source" where it is the number of its data source (`pose` leaves
`target` out, and `for_classes(names)` gives the task for these labels or sources); sources are trained on and measured in
equal parts. `head_reads_question`: the head is called with features and question. `couples`: the loss of an
example depends on others, so that several ranks put theirs together. `balanced`: every class is asked equally often;
otherwise chance is the share of the most frequent one. `grey`, `standardise`: its protocol's removal by hand (`removal`).
`defaults`: settings of a run that are others where this task is asked and nothing is said.
"""


def trait(task: Any, name: str) -> Any:
    """A task's own value of one of `TRAITS`, or the default."""
    return getattr(task, name, TRAITS[name])


class WrappedTask:
    """A task around another: what it does not do itself, `task` does.

    Special methods (`__deepcopy__`, `__getstate__`) are never the inner task's: a copy would be of that one alone.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getattr__(self, name: str) -> Any:
        # `copy` and `pickle` make an object before it has a `task`, and ask it for more.
        if name == "task" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.task, name)


def nearer(own: Tensor, other: Tensor) -> Tensor:
    """Of two distances (E,), is the answer nearer to its own image's: 1, else 0, and 0.5 for a tie."""
    return (own < other).float() + 0.5 * (own == other).float()
