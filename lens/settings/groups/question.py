"""What is asked about the images: the pretext task, the shortcut that is planted for it, the answers."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class QuestionSettings:
    """What is asked about the images: the pretext task, the shortcut that is planted for it, the answers."""

    task: str = setting("rotation", role="question", path=True)
    """Pretext task: a name, or a path to a .py file."""
    shortcut: str = setting("none", role="question", path=True)
    """Shortcut to plant: a name, or a path to a .py file."""
    shortcut_key: Literal["constant", "image", "source", "random"] = setting(
        "constant", role="question", needs="planted shortcut"
    )
    """What sets the shortcut's parameter; random is the control that predicts nothing."""
    shuffle_labels: bool = setting(False, role="question", since="0.3.0", was="shuffle_targets")
    """Train on the answers of other images of the batch: the control that must not beat chance."""
