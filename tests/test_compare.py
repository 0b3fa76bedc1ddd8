"""Several runs compared: figures of maps against slow ones, the transfer table against the runs' own figures."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from tiny import TINY, fit, made_lens

from lens import compare, probe, train
from lens.base import files, walk
from lens.base.errors import BadInput
from lens.figures import comparison as figures_compare
from lens.figures import region as figures_region
from lens.images.data import sample_of
from lens.images.training_set import training_images
from lens.measuring import edit_maps, regions
from lens.measuring.regions import Region
from lens.players.finished import FinishedRun
from lens.record.run import Run
from lens.results.compared import Compared

SHORT = ["--test_images", "10", "--probe_images", "20", "--steps", "1", "--val_every", "30", "--checkpoint_every", "30"]  # fmt: skip


ENCODER = "tu-tf_mobilenetv3_small_minimal_100"


def trained(place, data, *more):
    words = [
        *TINY,
        "--lens",
        "unet",
        "--lens.encoder",
        ENCODER,
        "--data",
        str(data),
        "--out",
        str(place),
        *SHORT,
        *more,
    ]
    assert train.main(fit(words)) == 0
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory, photos):
    """Three lens runs: a planted arrow; nothing planted, and both edit much; another size."""
    folder = tmp_path_factory.mktemp("compared")
    strong = ["--target_psnr", "10", "--recon_weight", "1", "--lens_lr", "2e-2", "--lr", "3e-3", "--steps", "12"]
    strong += ["--steering", "integral"]  # by the other rule a foreign lens leaves every answer at chance here
    arrow = trained(folder / "arrow", photos, *strong, "--shortcut", "arrow")
    plain = trained(folder / "plain", photos, *strong, "--seed", "1")
    large = trained(folder / "large", photos, "--image_size", "40", "--cache_image_size", "40")
    return arrow, plain, large


@pytest.fixture
def copied(runs, tmp_path):
    """A copy of the plain run, to be changed."""
    return shutil.copytree(runs[1], tmp_path / "copied")


def called(capsys, *argv):
    capsys.readouterr()
    code = compare.main([*map(str, argv), "--threads", "1"])
    return code, capsys.readouterr()


def refused(capsys, *argv):
    code, shown = called(capsys, *argv)
    assert code == 2
    assert shown.err.count("\n") == 1, shown.err
    return shown.err


# --- figures of a map ------------------------------------------------------------------------------------------------


def test_the_strongest_pixels_share_is_counted_pixel_by_pixel():
    mean_edit = np.random.default_rng(0).exponential(size=(9, 7)) ** 2
    ordered = sorted((float(x) for row in mean_edit for x in row), reverse=True)
    assert edit_maps.top_share(mean_edit) == pytest.approx(sum(ordered[:4]) / sum(ordered))  # 5 % of 63 is 3.15
    assert edit_maps.top_share(np.ones((10, 10))) == pytest.approx(0.05)
    assert edit_maps.top_share(np.zeros((10, 10))) is None


@pytest.mark.parametrize("levels", [1000, 5])
def test_the_rank_correlation_is_spearmans_with_ties_too(levels):
    rng = np.random.default_rng(levels)
    first = rng.integers(0, levels, size=(12, 12)).astype(float)
    second = first**3 + rng.integers(0, 2 * levels, size=(12, 12))
    expected = spearmanr(first.ravel(), second.ravel()).statistic
    assert edit_maps.rank_correlation(first, second) == pytest.approx(expected)
    assert edit_maps.rank_correlation(first, np.exp(first / levels)) == pytest.approx(1)
    assert edit_maps.rank_correlation(first, np.ones((12, 12))) is None


def test_maps_of_different_sizes_are_averaged_over_areas():
    small = np.random.default_rng(1).random((6, 6))
    large = small.repeat(3, axis=0).repeat(3, axis=1) + np.tile([[-0.1, 0, 0.1]] * 3, (6, 6))
    assert np.allclose(edit_maps.resized(large, (6, 6)), small)
    assert edit_maps.rank_correlation(large, small) == pytest.approx(1)


def test_a_regions_share_is_held_against_every_other_place():
    rng = np.random.default_rng(2)
    mean_edit = rng.random((20, 16))
    mean_edit[2:7, 1:4] += 3
    found = regions.in_region(mean_edit, Region(0.1, 1 / 16, 0.25, 3 / 16))
    others = []
    for y in range(16):
        for x in range(14):
            overlaps = any(2 <= y + i < 7 and 1 <= x + j < 4 for i in range(5) for j in range(3))
            if not overlaps:
                others.append(sum(mean_edit[y + i, x + j] for i in range(5) for j in range(3)) / mean_edit.sum())
    share = mean_edit[2:7, 1:4].sum() / mean_edit.sum()
    assert found["share"] == pytest.approx(share)
    assert found["area"] == pytest.approx(15 / 320)
    assert found["mirror"] == pytest.approx(mean_edit[2:7, 12:15].sum() / mean_edit.sum())
    assert found["rectangles"] == len(others)
    assert found["elsewhere"] == {
        "median": pytest.approx(np.median(others)), "largest": pytest.approx(max(others)),
    }  # fmt: skip
    assert found["below"] == 1.0
    assert regions.in_region(np.zeros((4, 4)), Region(0, 0, 0.5, 0.5))["share"] is None
    assert regions.in_region(mean_edit, Region(0, 0, 1, 1))["elsewhere"] is None
    with pytest.raises(BadInput, match="leaves the image in its width"):
        Region(0, 0.5, 0.5, 0.6)


# --- maps ------------------------------------------------------------------------------------------------------------


def arrays_of(file):
    with np.load(file) as arrays:
        return dict(arrays)


def test_maps_of_any_size_stand_side_by_side(runs, tmp_path, capsys):
    out = tmp_path / "new" / "maps"
    code, shown = called(capsys, runs[0], "--maps", *runs[1:], "--out", out)  # runs before and after the flag
    assert code == 0
    numbers = json.loads((out / "maps.json").read_text())
    arrays = arrays_of(out / "maps.npz")
    assert walk.own_kind(os.listdir(out)) == "comparison"  # so that its pictures are nobody's data
    for n, run in enumerate(runs):
        edits = arrays_of(run / "figures" / "edits.npz")
        summary = json.loads((run / "summary.json").read_text())
        entry = numbers["runs"][n]
        assert np.array_equal(arrays[f"map_{n}"], edits["map"])
        assert np.array_equal(arrays[f"original_{n}"], edits["original"][0])
        ordered = np.sort(edits["map"].ravel())
        position = 0.95 * (len(ordered) - 1)
        below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
        assert entry["map_95th_percentile"] == pytest.approx(below + (position % 1) * (above - below))
        assert entry["psnr"] == summary["reconstruction"]["psnr"]
        assert entry["map_images"] == 10
        assert (entry["task"], entry["shortcut"]) == ("rotation", "none" if n else "arrow")
        assert numbers["rank_correlation"][n][n] == pytest.approx(1)
    expected = spearmanr(*(arrays_of(run / "figures" / "edits.npz")["map"].ravel() for run in runs[:2])).statistic
    assert numbers["rank_correlation"][0][1] == numbers["rank_correlation"][1][0] == pytest.approx(expected)
    assert "no proof of a shortcut" in numbers["notes"][0]
    assert "averaged over areas" in numbers["notes"][1]
    assert (out / "maps.png").read_bytes()[:4] == b"\x89PNG"
    assert "no proof" in " ".join(shown.out.split())


def test_a_run_that_keeps_no_edits_is_asked_again(runs, copied, tmp_path, capsys):
    assert called(capsys, runs[0], copied, "--maps", "--out", tmp_path / "read")[0] == 0
    (copied / "figures" / "edits.npz").unlink()
    code, shown = called(capsys, runs[0], copied, "--maps", "--out", tmp_path / "asked")
    assert code == 0
    assert "its lens is asked again" in shown.err
    read, asked = (arrays_of(tmp_path / name / "maps.npz") for name in ("read", "asked"))
    for name in read:
        assert np.allclose(read[name], asked[name], atol=1e-6), name


def test_equal_titles_are_told_apart_by_the_directory():
    title = ["rotation", "photos", "arrow"]
    told = {
        "task": "t",
        "data": "d",
        "shortcut": "none",
        "lens": "l",
        "steps": 1,
        "seed": 0,
        "match": False,
        "psnr": 20.0,
    }
    named = [
        Compared.of_json(told | {"title": parts, "run": run})
        for parts, run in ((title, "x/a"), (title, "x/b"), (["jigsaw"], "x/c"))
    ]
    assert figures_compare.titles(named, "/") == ["rotation/photos/arrow/a", "rotation/photos/arrow/b", "jigsaw"]


# --- transfer --------------------------------------------------------------------------------------------------------


def test_the_diagonal_is_each_runs_own_figure(runs, tmp_path, capsys):
    out = tmp_path / "transfer"
    code, shown = called(capsys, *runs[:2], "--transfer", "--out", out)
    assert code == 0
    numbers = json.loads((out / "transfer.json").read_text())
    cells = {(cell["lens"], cell["task"]): cell for cell in numbers["cells"]}
    assert set(cells) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    for n in (0, 1):
        summary = json.loads((runs[n] / "summary.json").read_text())
        for key in ("raw", "raw_ci", "lensed", "lensed_ci", "gap", "gap_ci", "chance", "images"):
            assert cells[n, n][key] == pytest.approx(summary["pretext"][key]), key
        for key in ("mse", "psnr", "psnr_ci"):
            assert cells[n, n][key] == pytest.approx(summary["reconstruction"][key]), key
        assert cells[n, n]["statistics"] == "lensed"
        # Raw images are the task's, whoever's lens stands beside them.
        assert cells[1 - n, n]["raw"] == cells[n, n]["raw"]
        assert cells[1 - n, n]["statistics"] == "raw"
        assert cells[1 - n, n]["psnr"] != cells[n, n]["psnr"]
    for cell in cells.values():
        assert cell["lensed"] == cell[f"with_{cell['statistics']}_statistics"]["lensed"]
        low, high = cell["lensed_ci"]
        assert low <= cell["lensed"] <= high
    markdown = (out / "transfer.md").read_text()
    assert walk.own_kind(os.listdir(out)) == "transfer table"
    assert markdown.startswith("| images | task 1: rotation (accuracy, chance 25 %)")
    assert "fresh classifier" in markdown
    assert "fresh classifier" in " ".join(shown.out.split())
    assert (out / "transfer.png").read_bytes()[:4] == b"\x89PNG"


def slow_accuracy(run, lens, images, index, lensed_statistics):
    """The rotation accuracy of a run's extractor on unplanted 16 px images through a lens, image by image."""
    backbone = timm.create_model("all_conv", img_size=16)
    backbone.load_state_dict(load_file(run / "extractor.safetensors"))
    rest = load_file(run / "head.safetensors")
    if lensed_statistics:
        for i, norm in enumerate(m for m in backbone.modules() if hasattr(m, "running_mean")):
            norm.running_mean.copy_(rest[f"lensed_statistics.{i}.running_mean"])
            norm.running_var.copy_(rest[f"lensed_statistics.{i}.running_var"])
    editor = made_lens("unet", encoder=ENCODER, depth=3)
    editor.load_state_dict(load_file(lens / "lens.safetensors"))
    backbone.eval()
    editor.eval()
    right = 0
    with torch.no_grad():
        for i in index:
            pixels = images.fetch(np.array([i]))[:, :, 1:17, 1:17].float() / 255
            for turn in range(4):
                edited = (editor(torch.rot90(pixels, turn, (2, 3))).clamp(0, 1) * 255).round() / 255
                logits = backbone(edited * 2 - 1) @ rest["head.weight"].T + rest["head.bias"]
                right += int(logits.argmax()) == turn
    return right / (4 * len(index))


def test_a_foreign_lens_is_asked_at_8_bits_with_either_set_of_statistics(runs, copied, tmp_path, capsys):
    """Against a loop over images that shares the networks only."""
    head = load_file(copied / "head.safetensors")
    for name, values in head.items():
        if name.endswith("running_var"):
            values *= torch.linspace(0.1, 10, len(values))
    save_file(head, copied / "head.safetensors")
    assert called(capsys, runs[0], copied, "--transfer", "--out", tmp_path / "t")[0] == 0
    cells = json.loads((tmp_path / "t" / "transfer.json").read_text())["cells"]
    (cell,) = [cell for cell in cells if (cell["lens"], cell["task"]) == (0, 1)]
    settings = FinishedRun.of(Run.open(runs[1]), [], {}).parsed.settings
    images = training_images(settings)
    index = sample_of(images.indices("test"), settings.measuring.test_images, settings.optimisation.seed, "test")
    found = [cell[f"with_{name}_statistics"]["lensed"] for name in ("raw", "lensed")]
    expected = [slow_accuracy(copied, runs[0], images, index, lensed) for lensed in (False, True)]
    assert found == pytest.approx(expected)
    assert found[0] != found[1]  # so that the test can tell


@pytest.mark.parametrize("batch_norm", ["separate", "joint"])
def test_an_identity_lens_leaves_a_foreign_task_as_it_is(runs, copied, tmp_path, capsys, photos, batch_norm):
    """A lens that edits nothing, and an extractor that it was not trained against: exactly the raw figure."""
    torch.manual_seed(5)
    save_file(made_lens("unet", encoder=ENCODER, depth=3).state_dict(), copied / "lens.safetensors")
    asked = runs[1]
    if batch_norm == "joint":
        asked = trained(tmp_path / "joint", photos, "--batch_norm", "joint")
    assert called(capsys, asked, copied, "--transfer", "--out", tmp_path / "t")[0] == 0
    cells = json.loads((tmp_path / "t" / "transfer.json").read_text())["cells"]
    (cell,) = [cell for cell in cells if (cell["lens"], cell["task"]) == (1, 0)]
    assert cell["lensed"] == cell["raw"]
    assert cell["gap"] == 0
    assert cell["gap_ci"] == [0, 0]
    assert cell["psnr"] is None  # infinite
    if batch_norm == "joint":
        assert cell["with_lensed_statistics"] == cell["with_raw_statistics"]


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["plain"], "needs two runs or more, and 1 is given"),
        (["plain", "./plain"], "is named twice"),
        (["plain", "nowhere"], "nowhere is no run directory"),
        (["plain", "arrow", "--probe", "cifar10"], "unknown setting 'probe'"),
        (["plain", "arrow", "--weights", "best"], "unknown setting 'weights'"),
        (["plain", "arrow", "--probe_images", "5"], "unknown setting 'probe_images'"),
        (["plain", "arrow", "--out", "plain/settings.yaml"], "is no folder that can be written to"),
        (["plain", "arrow", "--device", "abc"], "--device 'abc' is unknown: give auto, cpu, cuda or cuda:N"),
        (["plain", "arrow", "--device", "cpu"], "--device cpu would be ignored"),
    ],
)
def test_mistakes_get_one_line(runs, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(runs[0].parent)
    assert message in refused(capsys, *argv, "--maps")


@pytest.mark.parametrize("more", [[], ["--transfer", "false"]])
def test_where_no_maps_are_asked_for_none_are_made(runs, tmp_path, capsys, more):
    line = refused(capsys, *runs[:2], "--maps", "false", *more, "--out", tmp_path / "m")
    assert "--maps false leaves nothing to compare" in line
    assert not (tmp_path / "m").exists()


def test_a_probe_of_several_runs_is_told_of_the_comparison(runs, capsys):
    assert probe.main([*map(str, runs[:2])]) == 2
    assert "2 are given: lens compare takes several" in capsys.readouterr().err


def test_the_old_way_to_compare_is_told_the_new_one_and_works(runs, tmp_path, capsys):
    asked = [str(runs[0]), str(runs[1]), "--out", str(tmp_path / "m"), "--threads", "1"]
    assert probe.main([*asked, "--maps"]) == 0
    assert "lens probe --maps is lens compare since" in capsys.readouterr().err
    shutil.move(tmp_path / "m", tmp_path / "old")
    assert compare.main(asked) == 0  # maps are what is done where nothing else is asked
    assert (tmp_path / "m" / "maps.json").read_bytes() == (tmp_path / "old" / "maps.json").read_bytes()


def test_runs_of_other_views_are_refused_for_transfer_only(runs, tmp_path, capsys, photos):
    error = refused(capsys, runs[0], runs[2], "--transfer", "--out", tmp_path / "t")
    assert "the image_size of" in error
    assert "is 40 and that of" in error
    other = shutil.copytree(photos, tmp_path / "elsewhere")
    elsewhere = trained(tmp_path / "r", other)
    assert f"the data of {elsewhere} is" in refused(capsys, runs[0], elsewhere, "--transfer", "--out", tmp_path / "t")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("kind", ["--maps", "--transfer"])
def test_a_run_without_a_lens_and_an_unfinished_one_are_refused(runs, copied, tmp_path, capsys, photos, kind):
    alone = trained(tmp_path / "alone", photos, "--lens", "none")
    assert "has no lens (--lens none)" in refused(capsys, runs[0], alone, kind)
    (copied / "summary.json").unlink()
    assert f"--resume {copied}" in refused(capsys, runs[0], copied, kind)


def test_a_rival_has_a_map_and_no_transfer(runs, tmp_path, capsys, photos):
    rival = trained(tmp_path / "rival", photos, "--lens", "random")
    assert called(capsys, runs[0], rival, "--maps", "--out", tmp_path / "m")[0] == 0
    assert json.loads((tmp_path / "m" / "maps.json").read_text())["runs"][1]["title"][2] == "nothing planted (random)"
    assert "--maps can show it" in refused(capsys, runs[0], rival, "--transfer")


def test_a_strangers_run_runs_no_code(runs, tmp_path, monkeypatch, capsys, photos):
    monkeypatch.chdir(tmp_path)
    task = tmp_path / "my_task.py"
    task.write_text((Path(train.__file__).parent / "tasks" / "rotation.py").read_text())
    mine = trained(tmp_path / "mine", photos, "--task", "./my_task.py")
    task.write_text(task.read_text() + "\nopen('it_ran', 'w').close()\n")
    assert called(capsys, runs[1], mine, "--maps", "--out", "m")[0] == 0  # what is read is no code
    assert "say so with --task ./my_task.py" in refused(capsys, runs[1], mine, "--transfer")
    assert "has changed since" in refused(capsys, runs[1], mine, "--transfer", "--task", "./my_task.py")
    assert not (tmp_path / "it_ran").exists()
    (mine / "figures" / "edits.npz").unlink()
    assert "say so with --task ./my_task.py" in refused(capsys, runs[1], mine, "--maps", "--out", "m2")


@pytest.mark.parametrize("content", [b"", b"\x00\xff{[\n", b"PK\x03\x04 cut off"])
def test_damaged_edits_get_one_line(runs, copied, capsys, content):
    (copied / "figures" / "edits.npz").write_bytes(content)
    assert "edits.npz cannot be read" in refused(capsys, runs[0], copied, "--maps")


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_comparison_of_other_runs_is_not_overwritten(runs, tmp_path, capsys):
    assert called(capsys, *runs[:2], "--maps", "--out", tmp_path)[0] == 0
    before = (tmp_path / "maps.json").read_bytes()
    assert f"compares {runs[0]}, {runs[1]}: choose another --out" in refused(
        capsys, *runs[1:], "--maps", "--out", tmp_path
    )
    assert called(capsys, *runs[:2], "--maps", "--out", tmp_path)[0] == 0  # the same again
    assert (tmp_path / "maps.json").read_bytes() == before
    (tmp_path / "maps.json").write_text('{"runs": [')
    assert "maps.json cannot be read" in refused(capsys, *runs[:2], "--maps", "--out", tmp_path)


@pytest.mark.parametrize("kind", ["--maps", "--transfer"])
def test_a_folder_of_a_strangers_files_is_left_alone(runs, tmp_path, capsys, kind):
    (tmp_path / ".lens-0123.tmp").touch()  # what a killed process has left is nobody's
    (tmp_path / "maps.png").write_text("mine")
    line = refused(capsys, *runs[:2], kind, "--out", tmp_path)
    assert f"{tmp_path} holds 'maps.png' and no comparison: choose another --out" in line
    assert (tmp_path / "maps.png").read_text() == "mine"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_full_disk_leaves_all_the_earlier_files_whole(runs, tmp_path, capsys, monkeypatch, count):
    assert called(capsys, *runs[:2], "--maps", "--out", tmp_path)[0] == 0
    for name in ("maps.npz", "maps.png"):
        (tmp_path / name).write_bytes(b"of an earlier version")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    real, calls = files.os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == count:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    assert "No space left on device" in refused(capsys, *runs[:2], "--maps", "--out", tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_regions_picture_and_table_come_from_the_runs_edits(runs, tmp_path):
    region = Region(0, 0, 0.5, 0.25)
    figures_region.draw_region(runs[0], region, tmp_path / "region.png")
    assert (tmp_path / "region.png").read_bytes()[:4] == b"\x89PNG"
    lines = figures_region.region_markdown(list(runs[:2]), region).splitlines()
    mean_edit = arrays_of(runs[0] / "figures" / "edits.npz")["map"]
    share = mean_edit[:8, :4].sum() / mean_edit.sum()
    assert lines[2].startswith(f"| arrow | {100 * share:.1f} % | 12.5 % | ")
