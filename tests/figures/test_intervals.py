"""Where there are too few groups for an interval, every table says so, and files hold it."""

import json

import numpy as np
import pytest

from lens.base import intervals
from lens.figures import removal as figures_removal
from lens.figures import removal_table, summary_table
from lens.figures import transfer as figures_transfer
from lens.grids import table as grid_table
from lens.record import schemas
from lens.results.figure import Estimate
from lens.results.removal import TRAINED_ON, Removal
from lens.results.summary import Summary
from lens.results.transfer import Transfer

FEW = {"too_few_groups": 4.23}
SAID = "too few groups (G_eff 4.2)"
PRETEXT = {
    "metric": "accuracy",
    "images": 40,
    "chance": 0.25,
    "raw": 0.9,
    "raw_ci": FEW,
    "clean": 0.8,
    "clean_ci": [0.7, 0.9],
}
SUMMARY = {
    "task": "rotation", "data": "./a", "shortcut": "arrow", "lens": "full_res", "objective": "uniform", "seed": 0, "steps": 6, "seconds": 1.0,
    "images_per_second": 3.0, "pretext": PRETEXT, "reconstruction": {"psnr": 25.0, "psnr_ci": FEW},
    "downstream": {"a": {"chance": 0.5, "n_train": 9, "n_test": 9, "linear": 0.7, "linear_ci": FEW}},
}  # fmt: skip


def proof():
    read = {
        "balanced_accuracy": 0.97, "ci": FEW, "excess": 0.94, "excess_ci": FEW, "by_source": [0.97, 0.97],
        "by_architecture": {"all_conv": {"balanced_accuracy": [0.97], "plateau": [True]}},
    }  # fmt: skip
    return {
        "verdict": "too few groups", "chance": 0.5, "sources": ["./a", "./b"], "raw": read, "wide": False, "readable": True,
        "lensed": read | {"trained_on": 0.2, "trained_on_ci": FEW}, "judges": {"trained_on": TRAINED_ON}, "left": 1.0, "left_to": "the best fresh classifier",
        "images": {"test": [40, 40]}, "groups": {"test": [4, 9]}, "psnr": 25.0, "psnr_ci": FEW, "psnr_planted": None,
        "psnr_by_source": [25.0, 25.0], "ssim": 0.9, "close": 0.55, "frozen": None, "probes": {},
        "downstream": {"raw": 0.8, "lensed": 0.7, "cost": 0.1, "cost_ci": FEW, "chance": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "expected"), [([7] * 5, 5), ([1] * 40, 40), ([200] + [5] * 9, 1.492), ([100] * 2 + [5] * 20, 4.39)]
)
def test_effective_groups(sizes, expected):
    assert intervals.effective_groups(np.array(sizes)) == pytest.approx(expected, abs=1e-3)


def test_the_table_of_a_run_says_that_there_are_too_few_groups(capsys):
    rows = {row[0]: row[2] for row in summary_table.table(Summary.of_json(SUMMARY))}
    assert rows["rotation accuracy, raw"] == rows["PSNR of the lens"] == rows["a: linear"] == SAID
    assert rows["rotation accuracy, clean"] == "70.0 % – 90.0 %"
    summary_table.print_table(Summary.of_json(SUMMARY))
    assert "fewer than 10 effective ones" in " ".join(capsys.readouterr().out.split())
    certain = SUMMARY | {"pretext": {**PRETEXT, "raw_ci": [0.8, 0.95]}, "reconstruction": None, "downstream": {}}
    summary_table.print_table(Summary.of_json(certain))
    assert "effective" not in capsys.readouterr().out


def test_the_table_and_the_picture_of_a_proof_say_it(capsys):
    found = proof()
    rows = {row[0].strip(): row for row in removal_table.table(Removal.of_json(found))}
    assert rows["source accuracy, best fresh classifier"][1:3] == (f"97.0 % ({SAID})",) * 2
    assert rows["its excess over chance"][1] == f"94.0 % ({SAID})"
    assert rows["the extractor, trained on"][2] == f"20.0 % ({SAID})"
    assert rows["class labels, fresh classifiers"][3] == f"cost 10.0 points ({SAID})"
    removal_table.print_table(Removal.of_json(found))
    printed = " ".join(capsys.readouterr().out.split())
    assert "too few groups: fresh classifiers tell a and b apart" in printed
    assert "fewer than 10 effective ones" in printed
    backwards = proof() | {"raw": proof()["raw"] | {"excess_ci": [-0.9, -0.8]}}
    assert "answers backwards" in removal_table.table(Removal.of_json(backwards))[1][3]
    assert "answers backwards" not in removal_table.table(Removal.of_json(found))[1][3]
    grey = np.full((2, 3, 8, 8, 3), 128, np.uint8)
    assert figures_removal.draw(
        Removal.of_json(found), {"raw": grey, "lensed": grey, "map": np.zeros((2, 8, 8))}
    ).startswith(b"\x89PNG")


def test_the_picture_of_a_proof_shows_the_whole_of_an_interval_and_of_its_labels(monkeypatch):
    found = proof()
    found["raw"] |= {"balanced_accuracy": 0.5, "ci": [0.05, 0.79]}
    drawn = []
    monkeypatch.setattr(figures_removal, "png", lambda plt, figure: drawn.append(figure) or b"")
    grey = np.full((2, 3, 8, 8, 3), 128, np.uint8)
    figures_removal.draw(Removal.of_json(found), {"raw": grey, "lensed": grey, "map": np.zeros((2, 8, 8))})
    axis = drawn[0].axes[-1]
    assert axis.get_xlim()[0] <= 5
    drawn[0].canvas.draw()
    assert min(label.get_window_extent().x0 for label in axis.get_yticklabels()) >= 0
    axis.figure.clear()


def test_the_table_and_the_picture_of_a_comparison_say_it():
    cell = {
        "lens": 0, "task": 0, "metric": "accuracy", "chance": 0.25, "raw": 0.9, "raw_ci": FEW, "lensed": 0.4, "lensed_ci": FEW,
        "gap": 0.5, "psnr": 25.0, "mse": 0.003, "images": 40, "statistics": "lensed", "with_raw_statistics": {"lensed": 0.5},
        "with_lensed_statistics": {"lensed": 0.4},
    }  # fmt: skip
    run = {
        "run": "runs/a", "task": "rotation", "title": ["rotation", "a", "arrow"], "data": "a", "shortcut": "arrow", "lens": "full_res",
        "steps": 6, "seed": 0, "match": False, "psnr": 25.0,
    }  # fmt: skip
    numbers = Transfer.of_json({"runs": [run], "cells": [cell], "notes": []})
    assert figures_transfer.transfer_table(numbers)[1][1] == f"90.0 % ({SAID})"
    assert "fewer than 10 effective ones" in figures_transfer.transfer_markdown(numbers)
    assert figures_transfer.transfer_picture(numbers).startswith(b"\x89PNG")


def test_a_grid_leaves_the_ends_empty():
    row = grid_table.measured(Summary.of_json(SUMMARY | {"removal": proof()}))
    assert (row["raw"], row["raw_low"], row["raw_high"]) == (0.9, None, None)
    assert (row["clean_low"], row["clean_high"]) == (0.7, 0.9)
    assert row["source_raw_low"] is row["source_trained_on_high"] is row["cost_low"] is row["psnr_low"] is None


def test_files_hold_it_and_older_ones_are_read():
    found = schemas.summary(json.dumps(SUMMARY | {"removal": proof()}))
    assert found.pretext.raw.interval == found.removal.raw.balanced_accuracy.interval == FEW
    older = proof()
    del older["left"], older["left_to"]
    del older["judges"]
    older["raw"] = older["raw"] | {"ci": [0.9, 0.99]}
    raw = schemas.summary(json.dumps(SUMMARY | {"removal": older})).removal.raw
    assert raw.balanced_accuracy.interval == [0.9, 0.99]
    with pytest.raises(ValueError, match=r"pretext\.raw_ci"):
        schemas.summary(json.dumps(SUMMARY | {"pretext": {**PRETEXT, "raw_ci": {"too_few_groups": "four"}}}))


def test_a_proof_of_an_older_version_is_read_under_todays_names():
    older = proof()
    del older["judges"]
    older["lensed"] = {name.replace("trained_on", "adversary"): value for name, value in older["lensed"].items()}
    found = schemas.summary(json.dumps(SUMMARY | {"removal": older})).removal
    assert found == Removal.of_json(proof())
    assert found.lensed.judges == {"trained_on": Estimate(0.2, FEW)}
    older["lensed"]["adversary"] = "all"
    with pytest.raises(ValueError, match=r"removal\.lensed\.trained_on: "):
        schemas.summary(json.dumps(SUMMARY | {"removal": older}))
    with pytest.raises(ValueError, match=r"removal\.lensed\.ghost: is missing"):
        schemas.summary(json.dumps(SUMMARY | {"removal": proof() | {"judges": {"ghost": "a ghost"}}}))
