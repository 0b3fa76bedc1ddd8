"""What is asked about the images: the pretext task, the shortcut that is planted for it, the answers."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import check_number
from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class QuestionSettings:
    """What is asked about the images: the pretext task, the shortcut that is planted for it, the answers."""

    task: str = setting("rotation", role="question", path=True)
    """Pretext task: a name, or a path to a .py file."""
    shortcut: str = setting("none", role="question", path=True)
    """Shortcut to plant: a name, or a path to a .py file."""
    shortcut_key: Literal["constant", "image", "source", "label", "random"] = setting(
        "constant", role="question", needs="planted shortcut"
    )
    """What sets the shortcut's parameter; random is the control that predicts nothing."""
    shortcut_share: float = setting(1.0, role="question", since="0.4.0", needs="label key")
    """With the key label: share of images, 0 to 1, that carry their own class's cue; the others carry that of a random class."""
    shuffle_labels: bool = setting(False, role="question", since="0.3.0", was="shuffle_targets")
    """Train on the answers of other images of the batch: the control that must not beat chance."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("shortcut_share", self.shortcut_share, low=0, high=1)
