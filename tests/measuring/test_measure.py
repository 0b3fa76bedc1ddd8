"""Intervals and probes against known values."""

import numpy as np
import pytest
import torch
from clusters import make

from lens.measuring import knn, logistic, proportions, resampling
from lens.measuring.features import pooled
from lens.operations import quality


def test_wilson_matches_the_published_example():
    # Newcombe 1998, table I, method 3: 81 of 263 → 0.2553 to 0.3662; 0 of 20 → 0 to 0.1611.
    assert proportions.wilson(81 / 263, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert proportions.wilson(0, 20) == pytest.approx([0, 0.1611], abs=5e-5)


def test_independent_answers_give_the_plain_wilson_interval():
    rng = np.random.default_rng(0)
    correct = (rng.random(4000) < 0.3).astype(float)
    p, interval = proportions.proportion(correct, np.ones(4000))
    assert p == correct.mean()
    assert interval == pytest.approx(proportions.wilson(p, 4000), abs=1e-4)


def test_answers_that_come_together_widen_the_interval():
    """Four copies of each answer carry no more than one: the interval is that of the groups."""
    rng = np.random.default_rng(0)
    correct = (rng.random(500) < 0.6).astype(float)
    _, once = proportions.proportion(correct, np.ones(500))
    _, copied = proportions.proportion(4 * correct, np.full(500, 4.0))
    assert copied == pytest.approx(once, abs=1e-9)
    _, grouped = proportions.proportion(np.repeat(correct, 3), np.ones(1500), np.repeat(np.arange(500), 3))
    assert grouped == pytest.approx(once, abs=1e-9)


def test_unanimous_answers_still_have_an_interval():
    p, (low, high) = proportions.proportion(np.full(50, 4.0), np.full(50, 4.0))
    assert p == 1
    assert low == pytest.approx(proportions.wilson(1, 50)[0])
    assert high == 1


def test_a_short_last_batch_does_not_bias_an_accuracy():
    assert proportions.proportion(np.array([4.0, 0.0, 0.0]), np.array([4.0, 1.0, 1.0]))[0] == pytest.approx(4 / 6)


def test_the_bootstrap_covers_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(100):
        values = rng.normal(1.0, 1.0, 60)
        low, high = resampling.bootstrap(values, np.ones(60), None, seed=trial, resamples=400)
        hits += low <= 1.0 <= high
    assert 87 <= hits <= 100


def right_answers(rng, sizes, accuracy, correlation):
    """Right answers in groups of a beta-binomial distribution."""
    strength = (1 - correlation) / correlation
    return rng.binomial(sizes, rng.beta(accuracy * strength, (1 - accuracy) * strength, len(sizes))).astype(float)


EQUAL, UNEQUAL = np.full(20, 20), np.arange(1, 31)


@pytest.mark.parametrize(
    ("sizes", "accuracy", "correlation"),
    [(EQUAL, 0.9, 0.6), (EQUAL, 0.95, 0.3), (UNEQUAL, 0.9, 0.6), (UNEQUAL, 0.5, 0.3)],
)
def test_an_accuracy_over_groups_covers_as_it_says(sizes, accuracy, correlation):
    rng, runs, hits = np.random.default_rng(4), 1500, 0
    for _ in range(runs):
        _, (low, high) = proportions.proportion(right_answers(rng, sizes, accuracy, correlation), sizes.astype(float))
        hits += low <= accuracy <= high
    assert hits / runs > 0.925


def test_a_gap_over_few_groups_covers_as_it_says():
    rng, runs, hits = np.random.default_rng(5), 600, 0
    sizes = np.full(12, 20)
    for run in range(runs):
        gap = right_answers(rng, sizes, 0.7, 0.3) - right_answers(rng, sizes, 0.5, 0.3)
        low, high = resampling.bootstrap(gap, sizes.astype(float), None, run, 400)
        hits += low <= 0.2 <= high
    assert hits / runs > 0.93


def test_with_too_few_groups_there_is_no_interval():
    group = np.repeat(np.arange(10), [200] + [5] * 9)
    right = np.random.default_rng(0).random(245)
    few = {"too_few_groups": pytest.approx(245**2 / (200**2 + 9 * 25))}
    assert proportions.proportion(np.round(right), np.ones(245), group) == (np.round(right).mean(), few)
    assert resampling.bootstrap(right, np.ones(245), group, 0) == few
    assert resampling.psnr_interval(few) == few
    nine, ten = (proportions.proportion(np.ones(count), np.ones(count))[1] for count in (9, 10))
    assert nine == {"too_few_groups": 9.0}
    assert ten == proportions.wilson(1, 10)


def test_the_source_with_the_fewest_groups_says_that_they_are_too_few():
    source = np.repeat([0, 1, 2], [100, 40, 60])
    group = np.concatenate([np.arange(100), 100 + np.arange(40) % 4, 200 + np.arange(60) % 6])
    right = np.ones(200)
    assert proportions.balanced_accuracy(right, right, source, group) == (1.0, {"too_few_groups": 4.0})
    assert resampling.bootstrap(right, right, group, 0, stratum=source) == {"too_few_groups": 4.0}
    assert isinstance(resampling.bootstrap(right[:100], right[:100], group[:100], 0), list)


def test_of_independent_images_the_interval_is_plainly_wilsons():
    rng = np.random.default_rng(0)
    for count, accuracy in ((10, 0.5), (60, 0.9), (5000, 0.99)):
        right = (rng.random(count) < accuracy).astype(float)
        p, ends = proportions.proportion(right, np.ones(count), np.arange(count))
        assert ends == pytest.approx(proportions.wilson(p, count), abs=1e-12)


def test_balanced_accuracy_is_the_mean_of_the_sources_with_an_interval_from_theirs():
    rng = np.random.default_rng(0)
    source = np.repeat([3, 5, 9], [400, 50, 10])
    correct = (rng.random(460) < np.repeat([0.9, 0.5, 0.7], [400, 50, 10])).astype(float)
    p, (low, high) = proportions.balanced_accuracy(correct, np.ones(460), source)
    means, below, above = [], 0.0, 0.0
    for number in (3, 5, 9):  # slow and obvious
        mine = [c for c, s in zip(correct, source, strict=True) if s == number]
        mean = sum(mine) / len(mine)
        bottom, top = proportions.wilson(mean, len(mine))
        means.append(mean)
        below += ((mean - bottom) / 3) ** 2
        above += ((top - mean) / 3) ** 2
    assert p == pytest.approx(sum(means) / 3)
    assert [low, high] == pytest.approx([p - below**0.5, p + above**0.5], abs=5e-3)
    assert p != pytest.approx(correct.mean(), abs=0.05)


def test_sources_of_one_size_have_the_plain_interval_where_they_are_alike():
    rng = np.random.default_rng(0)
    correct, source = (rng.random(4000) < 0.6).astype(float), np.arange(4000) % 4
    p, interval = proportions.balanced_accuracy(correct, np.ones(4000), source)
    assert p == pytest.approx(correct.mean())
    assert interval == pytest.approx(proportions.wilson(p, 4000), abs=2e-3)


def test_ten_right_answers_of_a_small_source_leave_doubt():
    source = np.repeat([0, 1], [1000, 10])
    p, (low, high) = proportions.balanced_accuracy(np.ones(1010), np.ones(1010), source)
    assert (p, high) == (1, 1)
    assert low == pytest.approx(1 - (1 - proportions.wilson(1, 10)[0]) / 2, abs=1e-3)


@pytest.mark.parametrize("way", ["balanced", "bootstrap"])
def test_balanced_intervals_know_groups_that_stand_in_every_class(way):
    """As of a cue in half of each patient's images: a patient whose images are read is read in both halves."""
    rng, groups, images, trials, held = np.random.default_rng(1), 60, 20, 300, 0
    group = np.repeat(np.arange(groups), images)
    for trial in range(trials):
        carries = rng.permuted(np.tile([0, 1], groups * images // 2).reshape(groups, images), axis=1).ravel()
        right = (rng.random(len(group)) < rng.choice([0.5, 1.0], groups)[group]).astype(float)
        ends = proportions.balanced_accuracy(right, np.ones(len(group)), carries, group)[1]
        if way == "bootstrap":
            ends = resampling.bootstrap(right, np.ones(len(group)), group, trial, 300, stratum=carries)
        held += ends[0] <= 0.75 <= ends[1]
    assert 0.92 * trials <= held <= 0.985 * trials


def test_a_judge_with_one_answer_for_each_group_is_at_chance_and_no_surer_than_of_single_images():
    rng, group = np.random.default_rng(0), np.repeat(np.arange(60), 20)
    carries = np.tile([0, 1], 600)
    right = (rng.integers(0, 2, 60)[group] == carries).astype(float)
    p, (low, high) = proportions.balanced_accuracy(right, np.ones(1200), carries, group)
    assert p == 0.5
    alone = proportions.balanced_accuracy(right, np.ones(1200), carries)[1]
    assert [low, high] == pytest.approx(alone)
    some = right.copy()
    some[carries == 1] = 1  # all of one class right: nothing is known of how it goes with the other
    _, (low, high) = proportions.balanced_accuracy(some, np.ones(1200), carries, group)
    assert low < some.mean() < high


@pytest.mark.parametrize("way", ["accuracy", "bootstrap"])
def test_balanced_intervals_cover_as_they_say(way):
    rng = np.random.default_rng(2)
    source, truth = np.repeat([0, 1], [300, 40]), np.repeat([0.95, 0.6], [300, 40])
    hits, widths, estimates = 0, [], []
    for trial in range(200):
        correct = (rng.random(340) < truth).astype(float)
        p, (low, high) = proportions.balanced_accuracy(correct, np.ones(340), source)
        if way == "bootstrap":
            low, high = resampling.bootstrap(correct, np.ones(340), None, trial, 200, stratum=source)
        hits += low <= 0.775 <= high
        widths.append(high - low)
        estimates.append(p)
    assert 180 <= hits <= 200
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(estimates), rel=0.15)


def test_groups_of_a_source_come_together():
    source, group = np.repeat([0, 1], [60, 30]), np.repeat(np.arange(30), 3)
    correct = np.repeat(np.random.default_rng(0).random(30) < 0.6, 3).astype(float)
    grouped = proportions.balanced_accuracy(correct, np.ones(90), source, group)[1]
    once = proportions.balanced_accuracy(correct[::3], np.ones(30), source[::3])[1]
    assert grouped == pytest.approx(once)


def test_psnr_and_8_bits():
    assert quality.psnr(0.01) == pytest.approx(20)
    assert quality.psnr(0.0) is None
    values = torch.tensor([-0.2, 0.5, 0.5 + 0.4 / 255, 1.3])
    assert torch.allclose(quality.to_8_bits(values), torch.tensor([0, 128, 128, 255]) / 255)


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    images = torch.rand(3, 3, 32, 32)
    assert quality.ssim(images, images).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert quality.ssim(images, torch.rand(3, 3, 32, 32)).max() < 0.5


def test_probes_read_features_that_carry_the_label():
    features, labels = make(np.random.default_rng(0))
    correct, fit = logistic.logistic(features, labels, 0)
    assert correct.mean() > 0.98
    assert fit.converged
    assert knn.probe(features, labels).mean() > 0.98


def test_neighbours_are_asked_about_the_split_that_is_named():
    """Slowly: of each validation image the 20 training images of the largest cosine, and the majority of their labels."""
    features, labels = make(np.random.default_rng(1), spread=1.5)
    unit = {s: x / np.linalg.norm(x, axis=1, keepdims=True) for s, x in features.items()}
    right = []
    for row, label in zip(unit["val"], labels["val"], strict=True):
        nearest = np.argsort(-(unit["train"] @ row))[:20]
        right.append(np.bincount(labels["train"][nearest]).argmax() == label)
    found = knn.probe(features, labels, split="val")
    assert found.tolist() == right
    assert 0.2 < found.mean() < 1
    without_test = {split: x for split, x in features.items() if split != "test"}  # it is not opened
    assert knn.probe(without_test, labels, split="val").tolist() == right


def test_probes_are_at_chance_on_shuffled_labels():
    rng = np.random.default_rng(0)
    features, labels = make(rng)
    labels = {split: rng.permutation(y) for split, y in labels.items()}
    assert abs(logistic.logistic(features, labels, 0)[0].mean() - 1 / 3) < 0.12
    assert abs(knn.probe(features, labels).mean() - 1 / 3) < 0.12


def test_the_penalty_is_chosen_on_validation_not_on_test():
    """Test labels that contradict must not move the choice."""
    rng = np.random.default_rng(0)
    features, labels = make(rng, spread=1.5)
    _, fit = logistic.logistic(features, labels, 0)
    _, other = logistic.logistic(features, labels | {"test": (labels["test"] + 1) % 3}, 0)
    assert fit == other


def test_the_probe_ignores_the_scale_of_features():
    features, labels = make(np.random.default_rng(0), spread=1.0)
    scaled = {split: x * np.array([1e4, 1.0, 1e-4]) + 5 for split, x in features.items()}
    correct = logistic.logistic(features, labels, 0)[0]
    assert (correct == logistic.logistic(scaled, labels, 0)[0]).mean() > 0.97


def test_chance_is_a_frequency_not_an_index():
    assert proportions.chance(np.array([2, 2, 2, 0])) == 0.75


def test_features_of_several_rows_are_averaged_per_image():
    rows = torch.arange(12.0).reshape(6, 2)
    assert pooled(rows, 2).tolist() == [[2.0, 3.0], [8.0, 9.0]]
