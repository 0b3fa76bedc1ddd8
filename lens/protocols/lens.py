"""The interface of a lens: what changes the views before the extractor sees them."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from lens.base.errors import BadInput
from lens.protocols.composition import Composed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from lens.base.draws import Draws
    from lens.protocols.task import Question

Loss: TypeAlias = "Callable[[Tensor, Question], Tensor]"
"""Views (V, C, H, W) in [0, 1] and what is asked about them → the extractor's loss, a scalar."""
Allowed: TypeAlias = "Callable[[Tensor], Tensor]"
"""A change (V, C, H, W) → the same without what an image may not be given (colour, where it has none)."""


class Lens(abc.ABC):  # noqa: B024  (which method is needed depends on what it says of itself)
    """What changes the views, in one of three ways.

    A lens that `learns` gives a `network`; it plays against the extractor, which moves it by gradients. What it gives is a
    change, held to a budget, or, if it `replaces`, the new image, which nobody steers. One that is `fixed`
    is told what to do: it gives `apply`, and nothing moves it. One that is neither (a rival of the lens) gives a `direction`;
    how far views go along it is steered to a mean squared change that it is held to. One that does not `change` anything is
    no lens. A plug-in is a frozen dataclass of its own settings.
    """

    changes: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    fixed: ClassVar[bool] = False
    replaces: ClassVar[bool] = False

    @property
    def multiple(self) -> int:
        """The number of pixels that a side of the network's input must be a multiple of: images are padded to it."""
        return 1

    @classmethod
    def needs(cls) -> list[str]:
        """The methods that a lens must have: what it says of itself decides."""
        if cls.learns or not cls.changes:
            return ["network"] if cls.learns else []
        return ["apply"] if cls.fixed else ["direction"]

    def network(self) -> Any:
        """A torch module, (V, 3, H, W) in [−1, 1] → the change δ on the scale of [0, 1], same shape. It begins at δ = 0.

        That of a lens that `replaces` takes views (V, 3, H, W) in [0, 1] of any size and their draws, and gives new views. One that
        adds to gradients itself has a `share`, which is set to the share of a batch that one call sees.

        Raises BadInput for settings that give no network.
        """
        raise NotImplementedError(f"{type(self).__name__} learns, so it needs a network")

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Views (V, C, H, W) in [0, 1] → what a fixed lens makes of them, same shape and range."""
        raise NotImplementedError(f"{type(self).__name__} is fixed, so it needs apply")

    def unfinished(self, lensed: Tensor) -> Tensor:
        """Which of the views (V, C, H, W) that a fixed lens gave are not yet what it promises (V,) bool: none, usually.

        Of a composition each stage is asked of what it gave itself (`proving.bounds.unfinished`).
        """
        return lensed.new_zeros(len(lensed)).bool()

    def direction(self, views: Tensor, question: Question, draws: Draws, loss: Loss, allowed: Allowed) -> Tensor:
        """Views (V, C, H, W) in [0, 1] and what is asked about them → δ of mean square 1 in each view, same shape."""
        raise NotImplementedError(f"{type(self).__name__} does not learn, so it needs a direction")


class Composition(Composed, Lens):
    """Lenses one after the other, of which one at most learns: the others are told what to do.

    A stage before the one that learns is part of what it sees; one after it changes what it made, and its gradient passes.
    """

    KIND: ClassVar[str] = "lens"

    @classmethod
    def traits(cls, parts: Mapping[str, type[Lens]]) -> dict[str, Any]:
        """As the one that learns. Raises BadInput where two of them learn, or one is a rival of the lens or no lens."""
        if learning := [name for name, part in parts.items() if part.learns][1:]:
            raise BadInput(
                f"--lens {'+'.join(parts)}: one of several lenses may learn, and {learning[0]} is the second: drop it"
            )
        for name, part in parts.items():
            if not part.learns and not part.fixed:
                raise BadInput(
                    f"--lens {'+'.join(parts)}: {name} is no lens that can stand beside another (a rival of it, or none): drop it"
                )
        learns, replaces = (any(getattr(part, of) for part in parts.values()) for of in ("learns", "replaces"))
        return {"learns": learns, "fixed": not learns, "replaces": replaces}

    def apply(self, views: Tensor, draws: Draws) -> Tensor:
        """Every stage, where none learns."""
        for stage in self.stages:
            views = stage.apply(views, draws)
        return views


@runtime_checkable
class Choosing(Protocol):
    """What the network of a lens says of itself if it draws one of P choices for each view, and reads no pixel that this hides.

    How much of a cue is left is bounded by it (`proving.choices`).
    """

    def law(self, views: Tensor) -> Tensor:
        """Views (V, C, H, W) in [0, 1] → the probability of each choice (V, P)."""

    def chosen(self, views: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """A choice of that law for each view (V,) int64, and whether it rests on something found (V,) bool."""

    def unread(self, views: Tensor, choice: Tensor) -> Tensor:
        """The pixels on which, given the choice (V,), what comes out does not depend: (V, 1, H, W) bool."""
