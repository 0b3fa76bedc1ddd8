"""The simulation of intervals over groups: its rules are those that they are named after."""

import argparse

import numpy as np
import pytest

from benchmarks import coverage
from lens.measuring import proportions, resampling

ASKED = argparse.Namespace(seed=0, runs=40, resamples=50)


@pytest.fixture(scope="module")
def told():
    rng = np.random.default_rng(0)
    sizes = np.arange(1, 31).astype(float)
    return coverage.Answers(coverage.answers(sizes, 0.8, 0.3, 400, rng), sizes)


def test_the_simulated_answers_have_the_mean_and_the_correlation_that_are_asked_for(told):
    assert told.p.mean() == pytest.approx(0.8, abs=0.01)
    # Var p = p (1 − p) (Σn + icc Σn (n − 1)) / (Σn)²
    n = told.sizes
    assert told.p.var() == pytest.approx(0.16 * (n.sum() + 0.3 * (n * (n - 1)).sum()) / n.sum() ** 2, rel=0.15)


def test_the_rules_are_what_they_are_called(told):
    rng = np.random.default_rng(0)
    low, high = coverage.wilson_kish(told, rng, 0)
    assert [low[3], high[3]] == pytest.approx(proportions.wilson(told.p[3], told.kish[3]))
    low, high = coverage.clopper(np.array([0.05]), np.array([20.0]))  # 1 of 20: Clopper & Pearson 1934
    assert [low[0], high[0]] == pytest.approx([0.0013, 0.2487], abs=1e-4)
    low, high = coverage.of_measure(told, rng, 0)
    assert [low[3], high[3]] == proportions.proportion(told.correct[3], told.sizes)[1]
    low, high = coverage.of_sources(told, told.correct[::-1])
    pooled = np.concatenate([told.correct[3], told.correct[-4]])
    found = proportions.balanced_accuracy(pooled, np.tile(told.sizes, 2), np.repeat([0, 1], len(told.sizes)))[1]
    assert [low[3], high[3]] == found
    gap, ones = np.random.default_rng(1).normal(1, 1, (1, 40)), np.ones(40)
    ends = [float(end[0]) for end in coverage.expanded(gap, ones, rng, 4000)]
    assert ends == pytest.approx(resampling.bootstrap(gap[0], ones, None, 0, 4000), abs=0.03)


def test_too_few_groups_have_no_coverage_and_the_tables_say_so():
    few, many = (coverage.cell(name, 0.9, 0.3, ASKED) for name in ("3 of 20", "20 of 20"))
    for line in few + many:
        assert (line["coverage"] is None) == (line["rule"] == coverage.OURS and line["sizes"] == "3 of 20")
    assert min(line["coverage"] for line in many if line["what"] == "accuracy") > 0.5
    assert [line["coverage"] > 0.8 for line in many if line["what"] == "balanced"] == [True]
