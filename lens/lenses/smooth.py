"""Blurs and smooth shifts of colour, chosen place by place: it can hardly paint."""

from __future__ import annotations

import dataclasses
from typing import Any

from lens.lenses._levels import Levels


@dataclasses.dataclass(frozen=True)
class Smooth(Levels):
    """δ is made of two blurs and a smooth shift, whose strengths come from a U-Net of full resolution."""

    def network(self) -> Any:
        """The U-Net with its blurs."""
        from lens.lenses._smoothing import Smoothing

        return Smoothing(self.depth)
