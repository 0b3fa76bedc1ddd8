"""What does the picture show? Supervised classification by the data's own labels."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from lens.tasks._classes import OfData


@dataclasses.dataclass(frozen=True)
class Labels(OfData):
    """Supervised classification, an outlook of Minderer et al. (2020): cross-entropy on the class labels.

    The classes are those of all sources together, by name. With two of them the least likely class is the other one, and
    a lens can simply swap them: give `--objective uniform`.
    """

    answer: ClassVar[str] = "label"
    balanced: ClassVar[bool] = False
