"""A small black arrow near one edge; its direction carries the label of any task that turns or places."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lens.base.errors import check_number

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws


@dataclasses.dataclass(frozen=True)
class Arrow:
    """A thin black arrow that points at the edge it stands near (Minderer et al. 2020, section 4, CIFAR-10).

    The overlay is drawn once pointing up and turned as a whole by θ: direction *and* place. With a random key every
    view then shows one of the same four overlays as with a constant key under rotation, so the control is matched
    pixel for pixel; were only the direction drawn, the fixed place would still give the turn away.
    """

    plants: ClassVar[bool] = True

    size: float = 0.25
    """Length and width as a share of the image's side, above 0 and at most 0.5."""
    strength: float = 1.0
    """Opacity of the black, above 0 and at most 1."""

    def __post_init__(self) -> None:
        check_number("shortcut.size", self.size, low=0, high=0.5, open_low=True)
        check_number("shortcut.strength", self.strength, low=0, high=1, open_low=True)

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """Draw the arrow in direction floor(4 θ): 0 up, 1 left, 2 down, 3 right (each a quarter turn further)."""
        import torch

        overlays = torch.stack([torch.rot90(self._alpha(images), r, dims=(0, 1)) for r in range(4)])
        alpha = overlays[(theta * 4).long().clamp(0, 3)][:, None]
        return images * (1 - alpha)

    def _alpha(self, images: Tensor) -> Tensor:
        """The opacity (H, W) of the arrow that points up, at the middle of the top edge, anti-aliased."""
        import torch

        side = images.shape[-1]
        length = self.size * side
        thickness = max(1.0, length / 8)
        margin = max(1.0, length / 8)
        centre = side // 2 + 0.5
        y, x = torch.meshgrid(*[torch.arange(side, device=images.device, dtype=images.dtype) + 0.5] * 2, indexing="ij")
        y = y - margin
        distance = torch.minimum(
            _to_segment(x, y, (centre, 0.5), (centre, length - 0.5)),
            torch.minimum(
                _to_segment(x, y, (centre, 0.5), (centre - 0.35 * length, 0.35 * length + 0.5)),
                _to_segment(x, y, (centre, 0.5), (centre + 0.35 * length, 0.35 * length + 0.5)),
            ),
        )
        return (thickness / 2 + 0.5 - distance).clamp(0, 1) * self.strength


def _to_segment(x: Tensor, y: Tensor, start: tuple[float, float], end: tuple[float, float]) -> Tensor:
    """Distance (H, W) of each pixel's centre to the segment from `start` to `end`, in pixels."""
    import torch

    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    along = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(x - x0 - along * dx, y - y0 - along * dy)
