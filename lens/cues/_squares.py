"""What cues share that look at the squares a network is given: the squares as a tensor, and a view described for trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    from torch import Tensor

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]


def squares(pictures: Sequence[Picture]) -> Tensor:
    """The squares of pictures as (B, 3, S, S) in [0, 1]."""
    import torch

    stacked = torch.from_numpy(np.stack([picture.square for picture in pictures]))
    return stacked.permute(0, 3, 1, 2).contiguous().float() / 255


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Numbers by name, (B, …) each, as float32 arrays."""
    return {name: values.float().numpy() for name, values in tensors.items()}


class ViewCue(Cue):
    """A cue that is a view of the squares; for trees it is described as any image is (`operations/description.py`)."""

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """The description of the view: 379 numbers where it has three channels, 229 where it has one."""
        from lens.operations.description import description

        view = self.view(squares(pictures), draws)
        assert view is not None
        return arrays(description(view))
