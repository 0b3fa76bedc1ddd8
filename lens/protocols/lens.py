"""The interface of a lens: what changes the views before the extractor sees them."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws
    from lens.protocols.task import Question


class Lens(abc.ABC):  # noqa: B024  (which method is needed depends on what it says of itself)
    """What changes the views, in one of two ways.

    A lens that `learns` gives a `network`; it plays against the extractor, which moves it by gradients. One that does not (a
    rival of the lens) gives a `direction`; how far views go along it is steered to a mean squared change that it is held to.
    One that does not `change` anything is no lens. A plug-in is a frozen dataclass of its own settings.
    """

    changes: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    @property
    def multiple(self) -> int:
        """The number of pixels that a side of the network's input must be a multiple of: images are padded to it."""
        return 1

    @classmethod
    def needs(cls) -> list[str]:
        """The methods that a lens must have: what it says of itself decides."""
        return ["network"] if cls.learns else ["direction"] if cls.changes else []

    def network(self) -> Any:
        """A torch module, (V, 3, H, W) in [−1, 1] → the change δ on the scale of [0, 1], same shape. It begins at δ = 0.

        Raises BadInput for settings that give no network.
        """
        raise NotImplementedError(f"{type(self).__name__} learns, so it needs a network")

    def direction(
        self,
        views: Tensor,
        question: Question,
        draws: Draws,
        loss: Callable[[Tensor, Question], Tensor],
        allowed: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Views (V, C, H, W) in [0, 1] and what is asked about them → δ of mean square 1 in each view, same shape.

        `loss` gives the extractor's loss of views and question, a scalar; `allowed` takes from a change what an image may
        not be given (colour, where it has none).
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn, so it needs a direction")
