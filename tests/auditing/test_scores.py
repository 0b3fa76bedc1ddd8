"""The area under the curve against its definition, and what is taken for what."""

import numpy as np
import pytest

from lens.auditing.scores import accuracy, auc, scores


def test_auc_is_the_chance_that_an_image_of_the_source_is_ranked_above_another():
    chance = np.random.default_rng(0)
    source = chance.integers(0, 3, 40)
    odds = chance.integers(0, 5, (40, 3)) / 5  # with ties
    slow = []
    for k in range(3):
        pairs = [(a > b) + (a == b) / 2 for a in odds[source == k, k] for b in odds[source != k, k]]
        slow.append(np.mean(pairs))
    assert auc(odds, source) == pytest.approx(np.mean(slow))


def test_accuracy_counts_every_source_alike_and_confusion_has_the_true_source_in_rows():
    source = np.array([0] * 30 + [1] * 10)
    odds = np.tile([0.9, 0.1], (40, 1))
    odds[30:35] = [0.2, 0.8]
    found = scores(odds, source, np.arange(40))
    assert found.accuracy.value == accuracy(odds, source) == 0.75
    assert found.confusion == [[1.0, 0.0], [0.5, 0.5]]
    low, high = found.accuracy.interval
    assert low < 0.75 < high
