"""No lens: the extractor alone, on raw images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from lens.protocols.lens import Lens


@dataclasses.dataclass(frozen=True)
class NoLens(Lens):
    """Changes nothing."""

    changes: ClassVar[bool] = False
    learns: ClassVar[bool] = False
