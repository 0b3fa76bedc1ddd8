"""Permutation tests and Holm's correction: against slow, obvious ones, and p uniform where there is nothing."""

import itertools

import numpy as np
import pytest

from lens.auditing import permutation
from lens.auditing.permutation import holm, permutation_p


def balanced(told, source):
    return np.mean([(told[source == k] == k).mean() for k in np.unique(source)])


def test_p_is_the_share_of_all_orders_with_as_high_an_accuracy():
    """Six single images: all 20 ways to call three of them source 0."""
    source = np.array([0, 0, 0, 1, 1, 1])
    told = np.array([0, 0, 1, 1, 1, 1])
    every = []
    for zeros in itertools.combinations(range(6), 3):
        other = np.ones(6, int)
        other[list(zeros)] = 0
        every.append(balanced(told, other) >= balanced(told, source) - 1e-12)
    assert permutation_p([told], source, np.arange(6), 0)[0] == pytest.approx(np.mean(every), abs=0.02)


def test_p_is_uniform_where_there_is_nothing():
    """At each level a test must not find more than it says; groups of several images, three sources, two predictors."""
    found = []
    for trial in range(300):
        chance = np.random.default_rng(trial)
        size = chance.integers(1, 5, 45)
        source = np.repeat(np.arange(45) % 3, size)
        group = np.repeat(np.arange(45), size)
        # A group answers as one: of images it would look like three times as much evidence.
        told = np.repeat(chance.integers(0, 3, 45), size)
        found += permutation_p([told], source, group, trial, draws=199)
    for level in (0.05, 0.2, 0.5):
        assert abs((np.array(found) <= level).mean() - level) < 3.5 * np.sqrt(level * (1 - level) / 300)


def test_images_of_one_patient_in_two_sources_change_places_within_the_patient_alone():
    """All patients are in both sources, and a predictor knows the patient only: nothing is found, and nothing can be."""
    group = np.repeat(np.arange(40), 2)
    source = np.tile([0, 1], 40)
    told = np.repeat(np.arange(40) % 2, 2)
    assert permutation_p([told], source, group, 0, draws=99) == [1.0]
    assert permutation_p([source], source, group, 0, draws=999) == [0.001]


def test_draws_are_the_same_for_all_predictors_and_in_any_parts(monkeypatch):
    chance = np.random.default_rng(0)
    source, told = chance.integers(0, 2, 50), chance.integers(0, 2, (2, 50))
    both = permutation_p(told, source, np.arange(50), 3, draws=500)
    assert both[1] == permutation_p(told[1:], source, np.arange(50), 3, draws=500)[0]
    monkeypatch.setattr(permutation, "CELLS", 50 * 100)
    assert permutation_p(told, source, np.arange(50), 3, draws=500) == pytest.approx(both, abs=0.07)


def slow_holm(p):
    """The smallest level at which the step-down procedure rejects each question, looked for on a fine grid."""
    found = []
    for number in range(len(p)):
        for level in np.linspace(0, 1, 2001):
            rejected = []
            for rank, place in enumerate(sorted(range(len(p)), key=lambda n: p[n])):
                if p[place] > level / (len(p) - rank) + 1e-12:
                    break
                rejected.append(place)
            if number in rejected:
                break
        found.append(level)
    return found


def test_holm_is_the_step_down_procedure():
    for seed in range(5):
        p = np.random.default_rng(seed).random(6) ** 3
        assert holm(list(p)) == pytest.approx(slow_holm(p), abs=6e-4)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
