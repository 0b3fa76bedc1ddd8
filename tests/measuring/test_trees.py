"""Boosted trees tell every level apart that they are given, the missing one too."""

import numpy as np
import pytest

from lens.measuring.trees import BINS, Trees, grow


@pytest.mark.parametrize("edge", [1, BINS // 2 + 1, BINS - 1, BINS])
def test_levels_that_are_one_apart_are_told_apart(edge):
    """The answer is whether a level is `edge` or more; the last level is the one of missing numbers."""
    chance = np.random.default_rng(0)
    levels = {split: chance.integers(0, BINS + 1, (1300, 2), dtype=np.uint8) for split in ("train", "val")}
    levels["test"] = np.stack([np.arange(BINS + 1)] * 2, axis=1).astype(np.uint8)
    answer = {split: (rows[:, 0] >= edge).astype(int) for split, rows in levels.items()}
    grown = grow(levels, answer, 0, Trees(most=60))
    np.testing.assert_array_equal(grown.answers, answer["test"])
