"""What repeats itself along a row of numbers, whatever their level."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

LEAST = 0.05
"""What is added to the level, so that nothing is not compared with nothing."""


def against_around(values: Tensor, width: int) -> Tensor:
    """Positive numbers in a row (B, n) → each against the mean of the `width` around it (odd), less 1: (B, n).

    What a picture shows varies slowly from line to line; what processing leaves does not.
    """
    reach = min(width // 2, values.shape[1] - 1)
    around = functional.avg_pool1d(values[:, None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
    return values / (around[:, 0] + LEAST) - 1
