"""A run's images as `lens apply` would take them: whole and upright, whatever its task makes of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from lens.players.players import Players
from lens.protocols.task import Question, WrappedTask

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


class _Whole(WrappedTask):
    """A task that asks nothing of whole images; all else is the inner task's."""

    views: ClassVar[Any] = 1

    def pose(self, images: Tensor, draws: Draws) -> tuple[Tensor, Question]:
        """The images as they are."""
        return images, {}


def whole(players: Players) -> Players:
    """The players with images as they are, with the planted cue; those whose task asks about such are themselves."""
    if players.task.answer is not None or isinstance(players.task, _Whole):
        return players
    return dataclasses.replace(players, task=_Whole(players.task))
