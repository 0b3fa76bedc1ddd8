"""The audit's ladder asked again after a lens: what has risen is told, and luck is not."""

import numpy as np
import pytest
from sets_of_noise import lensed_sets

from lens.figures import removal_table
from lens.measuring.trees import Trees
from lens.proving import rungs
from lens.results.removal import Removal

KEPT = ("mean_colour", "noise", "thumbnail", "border")


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Four cues and twenty trees."""
    monkeypatch.setattr(rungs, "TREES", Trees(most=20))
    every = rungs.every_cue
    monkeypatch.setattr(rungs, "every_cue", lambda: {name: cue for name, cue in every().items() if name in KEPT})


def noisier(sets):
    """Lensed images whose second source has noise that no raw one has."""
    rng = np.random.default_rng(5)
    for part in sets.splits.values():
        mine = part.source == 1
        noise = rng.integers(-25, 26, part.lensed[mine].shape)
        part.lensed[mine] = (part.lensed[mine].astype(int) + noise).clip(0, 255)
    return sets


def test_a_cue_that_a_lens_brings_is_told_to_have_risen_and_one_that_it_takes_is_not(tmp_path):
    found = rungs.rungs(noisier(lensed_sets(tmp_path, erased=True)), 0)
    assert list(found) == list(rungs.every_cue())
    assert found["noise"].raw.value < 0.7
    assert found["noise"].lensed.value > 0.9
    assert found["noise"].risen
    assert found["mean_colour"].raw.value > 0.8
    assert not found["mean_colour"].risen
    assert found["mean_colour"].lensed.value < 0.65
    proof = Removal.of_json({"psnr_planted": None, "downstream": None, "frozen": None, "probes": {}})
    rows = removal_table._rung_rows(found)
    assert rows[0][3] == f"{sum(one.risen for one in found.values())} of 4 have risen"
    assert ("  noise", "risen") in {(row[0], row[3]) for row in rows}
    kept = Removal.of_json(proof.to_json() | {"rungs": {name: one.to_json() for name, one in found.items()}})
    assert kept.rungs == found


def test_where_a_lens_changes_nothing_no_rung_rises(tmp_path):
    found = rungs.rungs(lensed_sets(tmp_path, erased=False), 0)
    for one in found.values():
        assert one.raw == one.lensed
        assert (one.p, one.risen) == (1, False)
    assert removal_table._rung_rows(found)[0][3] == "none of 4 has risen"


def test_a_rise_by_luck_is_as_likely_as_it_says():
    """Of answers that two coins give, p is uniform; of groups that answer as one too."""
    rng = np.random.default_rng(0)
    source = np.arange(120) % 2
    for group in (np.arange(120), np.arange(120) // 4 * 2 + np.arange(120) % 2):
        _, member = np.unique(group, return_inverse=True)
        coins = rng.random((2, 200, member.max() + 1)) < 0.7
        rises = (coins[1].astype(float) - coins[0])[:, member]
        p = np.array(rungs.rise_by_luck(rises, source, group, 0, draws=400))
        assert (p <= 0.05).mean() < 0.1
        assert (p <= 0.5).mean() > 0.3


def test_the_p_of_a_rise_is_that_of_all_exchanges():
    """Slowly, over every way of exchanging five groups' answers."""
    source, group = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 0, 1, 2, 3, 4])
    rises = np.array([[1.0, 0, 1, -1, 1, 1]])
    weight = np.where(source == 0, 1 / 3, 1 / 3) / 2
    totals = []
    for code in range(2**5):
        signs = np.array([1 if code >> k & 1 else -1 for k in range(5)])
        totals.append(float((rises[0] * weight * signs[group]).sum()))
    observed = float((rises[0] * weight).sum())
    exact = np.mean([total >= observed - 1e-9 for total in totals])
    (p,) = rungs.rise_by_luck(rises, source, group, 0, draws=20_000)
    assert p == pytest.approx(exact, abs=0.015)


def test_few_images_of_many_are_asked_about_the_same_ones_before_and_after(tmp_path, monkeypatch):
    monkeypatch.setattr(rungs, "MOST", {"train": 60, "val": 50, "test": 40})
    seen = []
    real = rungs._chunks
    monkeypatch.setattr(rungs, "_chunks", lambda sets, kind, chosen: (seen.append(chosen), real(sets, kind, chosen))[1])
    found = rungs.rungs(lensed_sets(tmp_path, erased=False), 0)
    assert {split: len(index) for split, index in seen[0].items()} == {"train": 60, "val": 50, "test": 40}
    assert all(np.array_equal(seen[0][split], seen[1][split]) for split in seen[0])
    assert found["noise"].raw == found["noise"].lensed
