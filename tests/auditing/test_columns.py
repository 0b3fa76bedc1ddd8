"""Descriptors of several chunks as columns, and the levels that trees are given."""

import numpy as np

from lens.auditing.columns import MOST_WORDS, joined, together
from lens.measuring.trees import BINS


def words(*values):
    return np.array(values, object)


def test_chunks_are_joined_by_name_and_what_one_lacks_is_missing():
    first = {"width": np.array([3.0, 4.0], np.float32), "form": words("JPEG", "PNG")}
    second = {"form": words("GIF"), "mean": np.array([[1.0, 2.0]], np.float32)}
    found = joined([first, second])
    assert found.number_names == ["width", "mean[0]", "mean[1]"]
    np.testing.assert_array_equal(found.numbers[:, 0], [3, 4, np.nan])
    np.testing.assert_array_equal(found.numbers[2, 1:], [1, 2])
    assert found.word_names == ["form"]
    assert found.words[:, 0].tolist() == ["JPEG", "PNG", "GIF"]
    assert found.categorical == [3]


def test_sources_are_put_together_by_name():
    one = joined([{"a": np.array([1.0]), "b": np.array([2.0])}])
    other = joined([{"b": np.array([3.0]), "w": words("x")}])
    found = together([one, other])
    assert found.number_names == ["a", "b"]
    np.testing.assert_array_equal(found.numbers, [[1, 2], [np.nan, 3]])
    assert found.words[:, 0].tolist() == ["none", "x"]


def test_levels_are_quantiles_of_training_alone_and_a_missing_number_is_above_all():
    numbers = np.concatenate([np.arange(640.0), [1e9, np.nan]]).astype(np.float32)
    levels = joined([{"n": numbers}]).levels(np.arange(640))[:, 0]
    assert (np.diff(levels[:640].astype(int)) >= 0).all()
    assert (np.bincount(levels[:640]) == 10).all()
    assert levels[640] == BINS - 1
    assert levels[641] == BINS


def test_words_that_training_lacks_or_has_rarely_are_one():
    known = [f"w{n}" for n in range(MOST_WORDS) for _ in range(2)] + ["rare"]
    levels = joined([{"w": words(*known, "new")}]).levels(np.arange(len(known)))[:, 0]
    assert len(set(levels[: 2 * MOST_WORDS].tolist())) == MOST_WORDS
    assert levels[-1] == levels[-2] == MOST_WORDS
    assert MOST_WORDS not in levels[: 2 * MOST_WORDS]


def test_a_column_without_any_number_does_no_harm():
    found = joined([{"n": np.full(5, np.nan, np.float32)}])
    assert found.levels(np.arange(5))[:, 0].tolist() == [BINS] * 5
