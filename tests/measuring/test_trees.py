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


@pytest.mark.parametrize(("noise", "most"), [(1000, 200), (15, 200), (15, 50), (0, 200)])
def test_what_is_kept_are_the_trees_with_the_lowest_loss_on_validation_grown_round_by_round(noise, most):
    """Against trees that are grown 20 more at a time and asked after each round."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    chance = np.random.default_rng(1)
    levels = {split: chance.integers(0, BINS + 1, (240, 4), dtype=np.uint8) for split in ("train", "val", "test")}
    answer = {
        split: (rows[:, 0] + chance.normal(0, noise, len(rows)) > 32).astype(int) for split, rows in levels.items()
    }
    trees = Trees(most=most)
    found = grow(levels, answer, 0, trees)
    model = HistGradientBoostingClassifier(
        max_iter=0, learning_rate=trees.rate, max_leaf_nodes=trees.leaves, max_features=0.5, l2_regularization=1.0,
        early_stopping=False, warm_start=True, class_weight="balanced", random_state=0,
    )  # fmt: skip
    losses, odds = [], []
    while not losses or (len(losses) - int(np.argmin(losses)) <= trees.patience and min(losses) > trees.enough):
        if 20 * len(losses) >= most:
            break
        model.set_params(max_iter=model.max_iter + 20).fit(levels["train"], answer["train"])
        right = model.predict_proba(levels["val"])[np.arange(240), answer["val"]]
        losses.append(np.mean([-np.log(right[answer["val"] == k]).mean() for k in (0, 1)]))
        odds.append(model.predict_proba(levels["test"]))
    assert found.steps == 20 * (int(np.argmin(losses)) + 1)
    assert found.loss == pytest.approx(min(losses))
    np.testing.assert_array_equal(found.odds, odds[int(np.argmin(losses))])
