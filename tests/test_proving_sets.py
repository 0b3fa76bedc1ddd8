"""A proof is about sets of images, whoever made them: no run, no lens, no extractor of anybody's is needed."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from lens.base.errors import BadInput
from lens.measuring import judges
from lens.proving import removal
from lens.proving.lensed_set import LensedSet, LensedSets

QUICK = judges.Recipe(steps=60, least=40, every=20, patience=2, batch=32)
CORNER = np.s_[:, :4, :4]


def lensed_set(count, seed, erased, level=60):
    """Noise of 16 px whose second source has a lighter corner, and the same with that corner `erased`, or as it was."""
    rng = np.random.default_rng(seed)
    source = np.arange(count) % 2
    raw = rng.integers(60, 150, (count, 16, 16, 3))
    raw[CORNER] += (level * source)[:, None, None, None]
    lensed = raw.copy()
    if erased:
        lensed[CORNER] = 128
    error = np.square((raw - lensed) / 255).mean(axis=(1, 2, 3))
    alike = np.ones(count)
    return LensedSet(
        raw.astype(np.uint8), lensed.astype(np.uint8), source, np.full(count, -1), np.arange(count), error, alike, alike > 1
    )  # fmt: skip


def lensed_sets(tmp_path, erased, level=60):
    sizes = {"train": 200, "val": 120, "test": 400}
    splits = {name: lensed_set(count, seed, erased, level) for seed, (name, count) in enumerate(sizes.items())}
    return LensedSets(splits, ["./before", "./after"], [], tmp_path)


def judging():
    spec = {"all_conv:{width: 8}": "default"}
    return judges.Judging(spec, [0], 0, QUICK, 16, torch.device("cpu"), contextlib.nullcontext)


def test_folders_can_be_proved_that_no_run_has_made(tmp_path):
    found = removal.removal(lensed_sets(tmp_path, erased=True), judging())
    assert found["raw"]["balanced_accuracy"] > 0.95
    assert abs(found["lensed"]["balanced_accuracy"] - 0.5) < 0.1
    assert found["sources"] == ["./before", "./after"]
    assert (found["downstream"], found["frozen"], found["probes"]) == (None, None, {})
    assert found["images"]["test"] == [200, 200]


def test_a_judge_begins_anew_each_time_that_it_is_asked(tmp_path):
    sets = lensed_sets(tmp_path, erased=False)
    judge = judging().fresh("all_conv:{width: 8}", 2)
    first, again = (judge.read(sets.pictures("raw", "source"), 3, "raw") for _ in range(2))
    assert np.array_equal(first.answers, again.answers)
    assert (first.loss, first.steps) == (again.loss, again.steps)


def test_a_judge_that_cannot_be_built_and_a_source_without_images_are_refused():
    with pytest.raises(BadInput, match="unknown --judges 'resnet17'"):
        dataclasses.replace(judging(), architectures={"resnet17": "default"}).check()
    counts = {"train": [3, 3], "val": [2, 0], "test": [2, 2]}
    with pytest.raises(BadInput, match=r"\./after has none in its val split"):
        removal.check(["./before", "./after"], counts, judging())
