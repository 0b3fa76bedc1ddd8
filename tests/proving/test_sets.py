"""A proof is about sets of images, whoever made them: no run, no lens, no extractor of anybody's is needed."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from sets_of_noise import CORNER, lensed_sets
from tiny import SUMMARY

from lens.base.errors import BadInput
from lens.figures import removal_table
from lens.grids import table as grid_table
from lens.measuring import judges
from lens.measuring.judge import JudgeResult
from lens.measuring.raised import Raised
from lens.proving import removal
from lens.results.summary import Summary

QUICK = judges.Recipe(steps=60, least=40, every=20, patience=2, batch=32)


def judging():
    spec = {"all_conv:{width: 8}": "default"}
    return judges.Judging(spec, [0], 0, QUICK, 16, torch.device("cpu"), contextlib.nullcontext)


def test_folders_can_be_proved_that_no_run_has_made(tmp_path):
    found = removal.removal(lensed_sets(tmp_path, erased=True), judging()).to_json()
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


@dataclasses.dataclass(frozen=True)
class Brightness:
    """A judge without a network: a threshold on the mean of the corner."""

    name: str = "a threshold"

    def read(self, pictures, seed, what):
        split = {name: shown.images[CORNER].mean(axis=(1, 2, 3)) for name, shown in pictures.items()}
        answers = (split["test"] > np.median(split["train"])).astype(int)
        return JudgeResult(answers, 0.9, 0.1, 1, True)


def test_the_strictest_judge_of_all_counts_and_needs_no_network(tmp_path, monkeypatch):
    """Networks that read chance prove nothing where another judge reads the cue: it has its figure in every table."""
    truth = np.arange(400) % 2
    coin = JudgeResult(np.arange(400) // 2 % 2, 0.5, 0.7, 1, True)

    def told(judge, pictures, seed, what):
        return coin if what.startswith("lensed") else JudgeResult(truth, 1.0, 0.1, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    sets = lensed_sets(tmp_path, erased=False, level=40)
    sets.splits["test"].error[:] = 1e-4
    alone = removal.removal(sets, judging())
    found = removal.removal(sets, judging(), {"threshold": Brightness()})
    assert (alone.verdict, alone.left_to) == ("removed", "the best fresh classifier")
    assert (found.verdict, found.left_to) == ("not halved", "a threshold")
    assert found.lensed.judges["threshold"].value == pytest.approx(1)
    assert [row[2] for row in removal_table.table(found) if row[0].strip() == "a threshold"] != []
    row = grid_table.measured(Summary.of_json(SUMMARY | {"removal": found.to_json()}))
    assert (row["source_threshold"], row["val_source_threshold"]) == (pytest.approx(1), 0.9)


@pytest.mark.parametrize(("erased", "word"), [(True, "removed"), (False, "not removed")])
def test_what_only_another_judge_reads_was_there_to_be_removed(tmp_path, monkeypatch, erased, word):
    """Networks are at chance before and after: the judge that reads raw images at 100 % says what there was, and what became of it."""
    coin = JudgeResult(np.arange(400) // 2 % 2, 0.5, 0.7, 1, True)
    monkeypatch.setattr(judges.Network, "read", lambda judge, pictures, seed, what: coin)
    sets = lensed_sets(tmp_path, erased=erased, level=40)
    sets.splits["test"].error[:] = 1e-4
    found = removal.removal(sets, judging(), both={"threshold": Brightness()})
    assert found.raw.judges["threshold"].value == pytest.approx(1)
    assert (found.verdict, found.readable) == (word, True)
    assert found.fall.value == pytest.approx(0.5 if erased else 0, abs=0.05)
    assert removal_table.headline(found).startswith(f"{word}: a threshold tell before and after apart at 100.0 % raw, ")
    (row,) = [row for row in removal_table.table(found) if row[0].strip() == "a threshold"]
    assert row[1].startswith("100.0 % (")
    (line,) = [grid_table.measured(Summary.of_json(SUMMARY | {"removal": found.to_json()}))]
    assert (line["source_raw_threshold"], line["source_raw"]) == (pytest.approx(1), pytest.approx(0.5))
    unnamed = dataclasses.replace(found, judges={})  # a file of another hand: of who is not named nothing is told
    assert "fresh classifiers tell before and after apart at 50.0 % raw" in removal_table.headline(unnamed)
    alone = removal.removal(sets, judging())
    assert (alone.verdict, alone.readable) == ("nothing to remove", False)


def test_a_raised_judge_is_one_more_of_a_proof_where_it_is_asked_for(tmp_path, monkeypatch):
    """It is given raw pictures and lensed ones, row by row the same; the strictest of all counts, it too."""
    truth, coin = np.arange(400) % 2, JudgeResult(np.arange(400) // 2 % 2, 0.5, 0.7, 1, True)
    seen = []

    def told(judge, pictures, seed, what):
        return coin if what.startswith("lensed") else JudgeResult(truth, 1.0, 0.1, 1, True)

    def led(judge, pictures, seed, what):
        seen.append((judge.raw["train"].images, pictures["train"].images))
        return JudgeResult(truth, 1.0, 0.1, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    monkeypatch.setattr(Raised, "read", led)
    sets = lensed_sets(tmp_path, erased=True)
    assert removal.removal(sets, judging()).judges == {}
    found = removal.removal(sets, dataclasses.replace(judging(), raised=True))
    assert found.judges == {"raised": "all_conv:{width: 8}, raised"}
    assert (found.lensed.judges["raised"].value, found.verdict) == (1, "not halved")
    ((raw, lensed),) = seen
    assert raw is sets.splits["train"].raw
    assert lensed is sets.splits["train"].lensed
