"""What is known of a setting stands at its field, and every list of settings is read from there."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

from lens import prove
from lens.grids import file as grid_file
from lens.grids import grid
from lens.settings import agreement
from lens.settings.run_settings import FIELDS

TRACKING = ("wandb", "wandb_project", "wandb_group", "wandb_tags")
PROOF = ("prove", "judges", "judge_seeds", "judge_steps", "judge_images", "raised_judges", "judge_cues")
IMAGES = ("data", "image_column", "label_column", "image_size", "cache_image_size", "intensity_range")


def test_every_setting_says_what_it_decides_and_since_when():
    for field in FIELDS.values():
        assert field.metadata["role"] in agreement.EVERY, field.name
        assert agreement.numbers("0.1.0") <= agreement.numbers(field.metadata["since"]), field.name
    used = {field.metadata["role"] for field in FIELDS.values()}
    assert used == agreement.EVERY
    assert all(roles < agreement.EVERY for roles in agreement.AGREE.values())


def test_the_lists_hold_what_they_are_for():
    assert set(agreement.may_change()) == {"steps", "epochs", "device", "num_workers", *TRACKING, *PROOF}
    assert set(grid.MACHINE) == {"device", "num_workers", *TRACKING}
    assert set(grid_file.OWN) == {"seed", "out", "resume", "config"}
    assert set(prove.JUDGES) == set(PROOF) - {"prove"}
    assert agreement.names(agreement.AGREE["fuse"]) == IMAGES
    assert set(agreement.names(agreement.AGREE["transfer"])) == {*IMAGES, "precision"}
    rival = set(agreement.names(agreement.AGREE["rival"]))
    assert {*IMAGES, "group_by", "judge_fraction", "pseudo_sources", "seed", "val_images", "grey", "shortcut"} <= rival
    assert not rival & {"extractor", "lr", "steps", "batch_size", "lens", "objective", "device", "probe_images"}
    control = set(agreement.names(agreement.AGREE["control"]))
    assert {"lr", "extractor", "task", "lens", "objective", "group_by", "augment", "precision", *IMAGES} <= control
    free = {"seed", "threads", "cache_dir", "max_bad_fraction", "val_images", "log_every", "test_images"}
    assert not control & {*free, *PROOF, *TRACKING}


def test_a_version_lacks_what_came_after_it():
    assert agreement.unknown_to("0.4.0") == {}
    assert agreement.unknown_to("0.3.0")["lens_grey"] == "free"
    assert "wandb" not in agreement.unknown_to("0.3.0")
    assert {"wandb", "grey", "lens_noise"} <= set(agreement.unknown_to("0.1.0"))
    assert agreement.unknown_to("0.0.1") == agreement.unknown_to("0.1.0")
    assert "lr" not in agreement.unknown_to("0.1.0")
    assert agreement.unknown_to("0.1.0")["probe_test_images"] is None
    assert agreement.unknown_to("0.10.0") == {}


@pytest.mark.parametrize(
    ("name", "one", "other", "alike"),
    [
        ("data", {"data": "./a/"}, {"data": ["./a"]}, True),
        ("data", {"data": ["./a", "./b"]}, {"data": ["./b", "./a"]}, True),
        ("data", {"data": ["./z", "/a"]}, {"data": ["/a", f"{Path.cwd()}/z"]}, True),
        ("data", {"data": "cifar10"}, {"data": "./cifar10"}, False),
        ("extractor_weights", {"extractor_weights": "w/../w.st"}, {"extractor_weights": "./w.st"}, True),
        (
            "cache_image_size",
            {"image_size": 32, "cache_image_size": None},
            {"image_size": 32, "cache_image_size": 37},
            True,
        ),
        (
            "cache_image_size",
            {"image_size": 32, "cache_image_size": None},
            {"image_size": 32, "cache_image_size": 36},
            False,
        ),
        ("steering", {}, {"steering": "integral"}, True),
        ("steering", {}, {"steering": "pi"}, False),
        ("lens_grey", {}, {"lens_grey": "free"}, True),
        ("lens_grey", {}, {"lens_grey": "keep"}, False),
        ("wandb_tags", {"wandb_tags": []}, {}, True),
        ("arrow", {"arrow": {"size": 1}}, {"arrow": {"size": 2}}, False),
    ],
)
def test_settings_compare_by_what_they_mean(name, one, other, alike):
    assert (agreement.first_difference([name], one, other) is None) is alike


def test_the_printed_table_is_that_of_the_fields():
    shown = subprocess.run(
        [sys.executable, "-m", "lens.settings.agreement"], capture_output=True, text=True, check=True
    ).stdout
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page.endswith(shown), "python -m lens.settings.agreement prints what docs/settings.md is to end in"
    assert shown.count("\n") == 2 + len(FIELDS.values())
    assert "| `wandb` |  | tracking | 0.2.0 | may differ | may differ |  |  |  |  |" in shown
    assert "| `judge_fraction` | `fresh_fraction` | division |" in shown
    assert "| `group_by` |  | division | 0.4.0 |  |  |  |  | must agree | must agree |" in shown
