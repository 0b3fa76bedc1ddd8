"""The base class of a pretext task, and a task around another."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lens.base.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lens.base.draws import Draws

Question = dict[str, "Tensor"]


class Task(abc.ABC):
    """A pretext task in three parts, because some tasks cut and standardise *after* the lens.

    A task is a frozen dataclass that inherits this: its dataclass fields are its own settings, and the class variables
    below say what kind of question it asks. One that depends on a setting is a property of the same name. In the question
    `target` is the answer, whatever its kind.
    """

    views: ClassVar[int] = 1
    """Views of each image: `pose` is handed every image that many times, image by image, `draws.view` counts them."""
    spatial: ClassVar[bool] = False
    """Whether `head` reads the feature map (V, F, h, w); otherwise pooled features (V, F)."""
    classes: ClassVar[int | None] = None
    """K, or None where the target is not a class."""
    answer: ClassVar[str | None] = None
    """Where the answer comes from: "label", the image's own, or "source", the number of its data source; None: `pose`.

    With either, `pose` leaves `target` out and there is a method `for_classes`. Sources are trained on and measured in
    equal parts.
    """
    head_reads_question: ClassVar[bool] = False
    """Whether the head is called with features and question; otherwise with features."""
    couples: ClassVar[bool] = False
    """Whether the loss of an example depends on others, so that several ranks bring theirs together."""
    balanced: ClassVar[bool] = True
    """Whether every class is asked equally often; otherwise chance is the share of the most frequent one."""
    grey: ClassVar[float] = 0.0
    """Removal by hand that its published protocol prescribes: the probability, 0 to 1, of showing a view in grey."""
    standardise: ClassVar[bool] = False
    """The same: whether each of the extractor's inputs is brought to mean 0 and deviation 1."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of a run, by name, that are others where this task is asked and nothing is said."""
    correct: ClassVar[Callable[..., Any] | None] = None
    """None, or a method `correct(outputs, question)` → (E,): of two answers, is the right one chosen: 1, else 0 (a tie: 0.5).

    For a task without classes, whose accuracy it is; its chance is 0.5. Without it the measure is the loss.
    """

    @abc.abstractmethod
    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """Images (V, C, H, W) in [0, 1] → views the lens may edit, same range, and what is asked about them.

        With classes the question holds `target` (E,) int64. Everything else that `present` and `loss` need is there
        too, one row a view or an example: a regression's target comes from the images given here, never from the lens.
        """

    @abc.abstractmethod
    def present(self, views: Tensor, question: Question) -> Tensor:
        """Views (V, C, H, W) in [0, 1], raw or lensed → the extractor's input: cut, standardised, scaled."""

    @abc.abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """Upright images (B, C, H, W) in [0, 1] → the input for downstream features, as many rows for each image."""

    @abc.abstractmethod
    def head(self, features: int) -> nn.Module:
        """The network on top of the extractor's features, from F features to what `loss` reads."""

    @abc.abstractmethod
    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """The head's outputs → one loss per example (E,)."""

    def logits(self, outputs: Tensor) -> Tensor:
        """The head's outputs → class logits (E, K): they are the logits, unless a task says otherwise.

        Raises TypeError where there are no classes.
        """
        if self.classes is None:
            raise TypeError(f"{type(self).__name__} has no classes, so that its outputs are no logits")
        return outputs

    def for_classes(self, names: list[str]) -> Self:
        """The task for data with these K classes, or sources; asked only where `answer` says that they are the answer.

        Raises BadInput unless a task has this method itself.
        """
        raise BadInput(f"{type(self).__name__} cannot be asked about {len(names)} classes: it lacks for_classes(names)")


class WrappedTask(Task):
    """A task around another: what it does not do itself, `task` does."""

    views: ClassVar[Any] = property(attrgetter("task.views"))
    spatial: ClassVar[Any] = property(attrgetter("task.spatial"))
    classes: ClassVar[Any] = property(attrgetter("task.classes"))
    answer: ClassVar[Any] = property(attrgetter("task.answer"))
    head_reads_question: ClassVar[Any] = property(attrgetter("task.head_reads_question"))
    couples: ClassVar[Any] = property(attrgetter("task.couples"))
    balanced: ClassVar[Any] = property(attrgetter("task.balanced"))
    grey: ClassVar[Any] = property(attrgetter("task.grey"))
    standardise: ClassVar[Any] = property(attrgetter("task.standardise"))
    defaults: ClassVar[Any] = property(attrgetter("task.defaults"))
    correct: ClassVar[Any] = property(attrgetter("task.correct"))

    def __init__(self, task: Task) -> None:
        self.task = task

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """What the inner task asks."""
        return self.task.pose(images, draws)

    def present(self, views: Tensor, question: Question) -> Tensor:
        """The inner task's input."""
        return self.task.present(views, question)

    def prepare(self, images: Tensor) -> Tensor:
        """The inner task's input for downstream features."""
        return self.task.prepare(images)

    def head(self, features: int) -> nn.Module:
        """The inner task's head."""
        return self.task.head(features)

    def loss(self, outputs: Tensor, question: Question) -> Tensor:
        """The inner task's loss."""
        return self.task.loss(outputs, question)

    def logits(self, outputs: Tensor) -> Tensor:
        """The inner task's logits."""
        return self.task.logits(outputs)

    def for_classes(self, names: list[str]) -> Self:
        """The same around the inner task for these classes."""
        bound = copy.copy(self)
        bound.task = self.task.for_classes(names)
        return bound


def nearer(own: Tensor, other: Tensor) -> Tensor:
    """Of two distances (E,), is the answer nearer to its own image's: 1, else 0, and 0.5 for a tie."""
    return (own < other).float() + 0.5 * (own == other).float()
