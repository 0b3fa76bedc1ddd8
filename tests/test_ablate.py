"""Grids: every cell checked before the first run, runs resumed, failures reported, tables that say what the summaries say."""

import fcntl
import gzip
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import forks
import numpy as np
import pytest
import yaml
from pictures import write_parquet
from scipy import stats
from small_grids import GRID, call, read_csv, write_grid
from tiny import ROOT, SUMMARY, TINY, fit

from lens import ablate, train
from lens.base.errors import BadInput
from lens.base.walk import own_kind
from lens.grids import processes
from lens.grids import summary as grid_summary
from lens.grids import table as grid_table
from lens.grids.compare_arms import holm, mean_sem, paired
from lens.grids.file import read
from lens.results.summary import Summary
from lens.settings.small_verbs import parse_simple

# Stands for lens.train: its figures follow from its words, it fails where lr is 9, and waits where lr is 8.
STUB = """
import json, pathlib, signal, sys, time
words = dict(word[2:].split("=", 1) for word in sys.argv[1:])
out = pathlib.Path(words.get("resume") or words["out"])
if "resume" not in words:
    out.mkdir(parents=True)
    (out / "settings.yaml").write_text(json.dumps(words))
else:
    words = json.loads((out / "settings.yaml").read_text()) | words
(out / "told.txt").open("a").write(" ".join(sys.argv[1:]) + chr(10))
if words["lr"] == "9":
    sys.exit("lens: error: the loss is not finite")
if words["lr"] == "8" and "resume" not in words:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (out / "waits").touch()
    time.sleep(60)
seed, lens = int(words["seed"]), words.get("lens") != "none"
linear = 0.5 + 0.01 * seed + (0.2 + 0.001 * seed**2 if lens else 0) * ("shortcut" in words)
about = {"task": "rotation", "data": "./photos", "shortcut": "none", "lens": words.get("lens", "full_res"), "seed": seed, "steps": 6}
summary = about | {"images_per_second": 3.0, "downstream": {"photos": {"linear": linear, "linear_ci": [linear - 0.1, linear + 0.1], "knn": None, "chance": 0.5, "n_train": 20, "n_test": 8, "val_linear": linear - 0.05, "n_val": 7}},
           "pretext": {"metric": "accuracy", "images": 8, "chance": 0.25, "clean": 0.25, "clean_ci": [0.2, 0.3], "lensed": None, "lensed_ci": None},
           "validation": {"images": 6, "of_images": 9, "raw": 0.3, "clean": 0.26, "lensed": None, "gap": None, "psnr": None},
           "seconds": 1.5, "git_commit": "abc"}
(out / "summary.json").write_text(json.dumps(summary))
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(ablate, "TRAIN", [sys.executable, str(tmp_path / "stub.py")])
    monkeypatch.setitem(GRID, "settings", GRID["settings"] | {"lr": 0.1})
    return tmp_path


def one_error(capsys):
    error = capsys.readouterr().err
    assert error.startswith("lens: error: ")
    assert error.count("\n") == 1
    return error


# --- whole grids ---------------------------------------------------------------------------------------------------------


class Forked:
    """Stands for `subprocess.Popen` of a job: what its command does, in a fork that need not import everything again."""

    def __init__(self, command, stdout, **more):
        assert command[: len(ablate.TRAIN)] == ablate.TRAIN
        log = os.readlink(f"/proc/self/fd/{stdout.fileno()}")
        self.process = forks.start(train.main, *command[len(ablate.TRAIN) :], log=log)
        self.terminate, self.kill = self.process.terminate, self.process.kill

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.returncode

    def wait(self):
        self.process.join()


@pytest.fixture
def forking(monkeypatch):
    """All jobs but those that resume a run are forks."""

    def begin(command, **more):
        resumes = any(word.startswith("--resume") for word in command)
        return (subprocess.Popen if resumes else Forked)(command, **more)

    stands = types.SimpleNamespace(Popen=begin, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(processes, "subprocess", stands)


def test_a_real_grid_resumes_fails_where_it_must_and_its_table_says_what_the_summaries_say(
    tmp_path, photos, capsys, forking
):
    rules = [{"when": {"images": "planted", "adversary": "lens"}, "set": {"lr": 1e18}}]
    file = write_grid(tmp_path, seeds=[3], settings=GRID["settings"] | {"data": str(photos)}, rules=rules)
    out = tmp_path / "out"
    half = out / "runs" / "natural-lens-seed3"
    run = next(run for run in read(file).runs() if run.slug == half.name)
    assert train.main([*run.words, "--seed=3", f"--out={half}", "--steps=4"]) == 0  # stands for an interrupted one
    (half / "summary.json").unlink()
    settings = yaml.safe_load((half / "settings.yaml").read_text()) | {"steps": 6}
    (half / "settings.yaml").write_text(yaml.safe_dump(settings))
    (out / "grid.yaml").write_text(read(file).content())
    assert call(file, "--jobs", "2") == 1
    shown = capsys.readouterr()
    failed = [
        line for line in shown.err.splitlines() if line.startswith("failed: planted / lens, seed 3: lens: error: ")
    ]
    assert len(failed) == 2  # when it happens, and at the end
    assert "not finite" in failed[-1]
    assert f"(log: {out}/logs/planted-lens-seed3.log)" in failed[-1]
    assert (half / "commands.txt").read_text().count("\n") == 2
    assert "--resume" in (half / "commands.txt").read_text().splitlines()[1]
    assert sum(json.loads(line)["step"] == 6 for line in (half / "metrics.jsonl").read_text().splitlines()) >= 1

    import pyarrow.parquet

    rows = read_csv(out)
    assert pyarrow.parquet.read_table(out / "table.parquet").num_rows == len(rows) == 4
    assert grid_table.load(out)[0]["seed"] == 3
    assert [row["status"] for row in rows] == ["finished", "finished", "finished", "failed"]
    for row in rows[:3]:
        summary = json.loads((out / row["directory"] / "summary.json").read_text())
        assert (summary["lens"] == "none") == (row["adversary"] == "no lens")
        assert (summary["shortcut"] == "arrow") == (row["images"] == "planted")
        assert summary["seed"] == int(row["seed"])
        probe, pretext = summary["downstream"]["photos"], summary["pretext"]
        parts = [(probe, "linear", "downstream"), *((probe, key, key) for key in ("knn", "untrained", "pixels"))]
        parts += [(pretext, key, key) for key in ("raw", "clean", "lensed", "gap")]
        parts += [
            (summary["reconstruction"], key, key) for key in ("psnr", "psnr_planted", "ssim", "mse", "mse_planted")
        ]
        for part, key, column in parts:
            for name, value in zip(
                (column, f"{column}_low", f"{column}_high"),
                [part[key], *(part.get(f"{key}_ci") or [None] * 2)],
                strict=True,
            ):
                assert row[name] == ("" if value is None else str(value)), name
        lines = map(json.loads, (out / row["directory"] / "metrics.jsonl").read_text().splitlines())
        last = [line for line in lines if line["kind"] == "val"][-1]
        assert last["step"] == 6
        assert ("ssim" in last) == (summary["lens"] != "none")
        for name in ("raw", "clean", "lensed", "psnr", "psnr_planted", "ssim"):
            assert row[f"val_{name}"] == ("" if last.get(name) is None else str(last[name])), name
        assert row["val_downstream"] == str(probe["fit"]["validation"])
        for name in ("knn", "untrained", "pixels"):
            assert row[f"val_{name}"] == str(probe[f"val_{name}"])
        splits = gzip.decompress((out / row["directory"] / "splits.jsonl.gz").read_bytes()).decode().splitlines()
        validation = sum(json.loads(line)["split"] == "val" for line in splits)
        assert int(row["val_images"]) == min(8, validation)
        assert (int(row["val_downstream_images"]), probe["n_val_of"]) == (validation, validation)
        assert row["git_commit"] == str(summary["git_commit"] or "")
        assert float(row["seconds"]) == summary["seconds"]
    assert all(not rows[3][name] for name in ("downstream", "clean", "seconds", "val_downstream", "val_images"))
    for name in ("summary.png", "summary_clean.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")

    # Finished runs are kept, the failed one is tried again, and --table touches no run.
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/summary.json")}
    text = (out / "summary.md").read_text()
    assert call(file, "--table") == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/summary.json")} == before
    assert (out / "summary.md").read_text() == text


# --- rivals held to the lens run of their own cell and seed ---------------------------------------------------------------

MATCHED = {
    "fgsm": {"lens": "fgsm", "match_mse": "lens"},
    "lens": {"objective": "uniform", "target_psnr": 25},
    "no lens": {"lens": "none"},
}


TWO_ARMS = {"exclude": [{"arm": "no lens"}], "baseline": {"arm": "lens"}}


def matched_grid(place, name="grid", **changes):
    return write_grid(place, name, **{"axes": {"arm": MATCHED}, "baseline": {"arm": "no lens"}, "seeds": [3]} | changes)


def test_a_rival_in_a_real_grid_has_the_change_of_the_lens_run_of_its_seed(tmp_path, photos, forking):
    file = matched_grid(tmp_path, settings=GRID["settings"] | {"data": str(photos)}, **TWO_ARMS)
    assert call(file, "--jobs", "2") == 0
    runs = tmp_path / "out" / "runs"
    lines = map(json.loads, (runs / "lens-seed3" / "metrics.jsonl").read_text().splitlines())
    target = [line["mse"] for line in lines if line["kind"] == "val"][-1]
    rival = runs / "fgsm-seed3"
    match = json.loads((rival / "summary.json").read_text())["match"]
    assert (match["target_mse"], Path(match["to"]).resolve()) == (target, (runs / "lens-seed3").resolve())
    row = next(row for row in read_csv(tmp_path / "out") if row["arm"] == "fgsm")
    assert float(row["match_ratio"]) == match["ratio"]
    (rival / "summary.json").unlink()  # as if it had been stopped at its end
    assert call(file) == 0
    assert not (tmp_path / "out" / "failed.json").exists()  # nothing failed
    assert "--resume" in (rival / "commands.txt").read_text().splitlines()[1]
    assert json.loads((rival / "summary.json").read_text())["match"]["target_mse"] == target


def test_a_rival_is_told_the_run_of_its_own_seed_and_starts_when_that_has_ended(stub):
    rules = [{"when": {"arm": "lens"}, "set": {"lr": 0.2}}]
    (stub / "stub.py").write_text(
        STUB.replace("seed, lens =", 'time.sleep(0.5 * (words["lr"] == "0.2"))\nseed, lens =')
    )
    file = matched_grid(stub, seeds=[0, 1], rules=rules, **TWO_ARMS)
    assert call(file, "--jobs", "4") == 0
    for seed in (0, 1):
        lens, rival = (stub / "out" / "runs" / f"{arm}-seed{seed}" for arm in ("lens", "fgsm"))
        assert f"--match_mse={lens}" in (rival / "told.txt").read_text().split()
        assert (lens / "summary.json").stat().st_mtime_ns < (rival / "settings.yaml").stat().st_mtime_ns
        assert "--match_mse" not in (lens / "told.txt").read_text()
    assert call(matched_grid(stub, "other", seeds=[0, 1], rules=rules, **TWO_ARMS)) == 0  # the same one
    number = {"arm": MATCHED | {"fgsm": {"lens": "fgsm", "match_mse": 0.01}}}
    (run,) = (run for run in read(matched_grid(stub, "number", axes=number)).runs() if run.cell["arm"] == "fgsm")
    assert (run.waits_for, "--match_mse=0.01" in run.words) == (None, True)
    outside = {"arm": MATCHED | {"fgsm": {"lens": "fgsm", "match_mse": "./runs/lens"}}}
    assert all(run.waits_for is None for run in read(matched_grid(stub, "outside", axes=outside)).runs())


def test_where_the_lens_run_fails_its_rival_says_so(tmp_path, photos, capsys, forking):
    rules = [{"when": {"arm": "lens"}, "set": {"lr": 1e18}}]
    settings = GRID["settings"] | {"data": str(photos)}
    file = matched_grid(tmp_path, settings=settings, rules=rules, **TWO_ARMS)
    assert call(file, "--jobs", "2") == 1
    told = capsys.readouterr().err
    assert "failed: fgsm, seed 3: lens: error: --match_mse" in told
    assert "that run is not finished" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fgsm": {"lens": "fgsm", "match_mse": "lense"}}, "match_mse: 'lense' is no value of an axis: did you mean 'lens'"),
        ({"fgsm": {"lens": "fgsm", "match_mse": "no lens"}}, "the cell 'no lens' has no lens (lens: none)"),
        ({"fgsm": {"lens": "fgsm", "match_mse": "random"}, "random": {"lens": "random"}}, "the cell 'random' has no lens"),
        ({"lens": {"objective": "uniform", "image_size": 12}}, "the image_size of the cell 'lens' is 12 and here it is 16"),
        ({"lens": {"objective": "uniform", "shortcut": "arrow"}}, "the shortcut of the cell 'lens' is 'arrow' and here it is 'none'"),
    ],
)  # fmt: skip
def test_a_rival_without_a_lens_to_match_is_refused_before_anything_runs(stub, capsys, changes, message):
    assert call(matched_grid(stub, axes={"arm": MATCHED | changes})) == 2
    error = one_error(capsys)
    assert "the cell 'fgsm': match_mse: " in error
    assert message in error
    assert not (stub / "out").exists()


def test_a_match_that_an_exclude_leaves_out_or_that_two_axes_name_is_refused(stub, capsys):
    assert call(matched_grid(stub, exclude=[{"arm": "lens"}])) == 2
    assert "match_mse: the grid has no cell 'lens', exclude: leaves it out" in one_error(capsys)
    assert call(matched_grid(stub, axes={"arm": MATCHED, "size": {"lens": {}, "other": {"batch_size": 5}}})) == 2
    assert "match_mse: 'lens' is a value of the axes arm and size: rename one" in one_error(capsys)


# --- runs that fail, stop and go on --------------------------------------------------------------------------------------


def test_all_runs_are_made_seed_by_seed_and_share_a_group_where_wandb_is_on(stub):
    file = write_grid(stub, "arms")
    assert call(file, "--wandb", "offline", "--device", "cpu") == 0
    rows = read_csv(stub / "out")
    assert [row["seed"] for row in rows] == ["0"] * 4 + ["1"] * 4
    for row in rows:
        told = (stub / "out" / row["directory"] / "told.txt").read_text()
        assert "--wandb_group=arms" in told
        assert "--device=cpu" in told
    assert own_kind(os.listdir(stub / "out")) == "grid directory"  # so that its pictures are nobody's data
    off = read(write_grid(stub, "off")).runs()
    assert not any("wandb_group" in word for run in off for word in run.words)


def test_a_failed_run_does_not_stop_the_others(stub, capsys):
    file = write_grid(stub, rules=[{"when": {"images": ["natural"], "adversary": "lens"}, "set": {"lr": 9}}])
    assert call(file) == 1
    assert [row["status"] for row in read_csv(stub / "out")] == ["finished", "failed", "finished", "finished"] * 2
    assert (stub / "out" / "failed.json").exists()
    assert capsys.readouterr().err.count("seed 1: lens: error: the loss is not finite (log: ") == 2
    assert "Failed: runs/natural-lens-seed0, runs/natural-lens-seed1" in (stub / "out" / "summary.md").read_text()
    told = stub / "out" / "runs" / "natural-lens-seed0" / "told.txt"
    assert call(file) == 1
    assert [line.split("=")[0] for line in told.read_text().splitlines()][1] == "--resume"
    assert len((stub / "out" / "runs" / "planted-lens-seed0" / "told.txt").read_text().splitlines()) == 1


def test_a_log_that_is_gone_is_told_and_the_other_runs_go_on(stub, capsys):
    gone = f"import shutil; shutil.rmtree({str(stub / 'out' / 'logs')!r}, ignore_errors=True)"
    (stub / "stub.py").write_text(STUB.replace('if words["lr"] == "9":', f'if words["lr"] == "9":\n    {gone}'))
    file = write_grid(stub, rules=[{"when": {"images": ["natural"], "adversary": "lens"}, "set": {"lr": 9}}])
    assert call(file) == 1
    assert [row["status"] for row in read_csv(stub / "out")] == ["finished", "failed", "finished", "finished"] * 2
    assert "seed 1: exit code 1, and its log cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_signal_stops_the_runs_writes_the_table_and_says_how_to_go_on(stub, number):
    file = write_grid(stub, rules=[{"when": {"images": "planted"}, "set": {"lr": 8}}])
    code = f"import sys; from lens import ablate; ablate.TRAIN = {ablate.TRAIN!r}; sys.exit(ablate.main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, str(file), "--out", str(stub / "out"), "--jobs", "2"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT)
    waits = stub / "out" / "runs"
    deadline = time.monotonic() + 30
    while len(list(waits.glob("*/waits"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert call(file) == 2  # another one on the same directory
    process.send_signal(number)
    try:
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "2 of 8 runs are finished" in error
    assert f"Continue with: python -m lens.ablate {file} --out {stub / 'out'} --jobs 2" in error
    assert "failed" not in error
    statuses = [row["status"] for row in read_csv(stub / "out")]
    assert statuses == ["finished"] * 2 + ["unfinished"] * 2 + ["missing"] * 4
    # Going on resumes what was stopped, and the rest waits for nobody here: lr 8 waits only when it starts.
    with_lr = [run for run in read(file).runs() if "--lr=8" in run.words]
    assert len(with_lr) == 4


def test_a_run_that_is_stopped_is_resumed(stub):
    file = write_grid(stub, seeds=[0], rules=[{"when": {"images": "planted"}, "set": {"lr": 8}}])
    for name in ("planted-no_lens-seed0", "planted-lens-seed0"):
        place = stub / "out" / "runs" / name
        place.mkdir(parents=True)
        run = next(run for run in read(file).runs() if run.slug == name)
        words = dict(word[2:].split("=", 1) for word in [*run.words, "--seed=0"])
        (place / "settings.yaml").write_text(json.dumps(words))
    (stub / "out" / "grid.yaml").write_text(read(file).content())
    assert call(file, "--device", "cpu") == 0
    told = (stub / "out" / "runs" / "planted-lens-seed0" / "told.txt").read_text()
    assert told == f"--resume={stub}/out/runs/planted-lens-seed0 --device=cpu\n"


def test_a_grid_in_use_is_refused(stub, capsys):
    file = write_grid(stub)
    (stub / "out").mkdir()
    with open(stub / "out" / "lock", "w") as lock:
        lock.write("somebody")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert call(file) == 2
    assert "is in use by somebody" in one_error(capsys)
    assert not (stub / "out" / "runs").exists()


# --- refusals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": {}}, "unknown key 'axis': did you mean 'axes'?"),
        ({"axes": {"objectve": ["full", "uniform"]}}, "did you mean 'objective'?"),
        ({"settings": {"btach_size": 4}}, "settings: unknown setting 'btach_size': did you mean 'batch_size'?"),
        ({"settings": {"lr": -1}}, "the cell 'natural / no lens': --lr is -1"),
        ({"settings": {"seed": 1}}, "settings: seed has no place in a grid"),
        ({"settings": {"chromatic": {"radial": True}}}, "chromatic is not selected"),
        ({"rules": [{"when": {"imges": "planted"}, "set": {}}]}, "rules: unknown axis 'imges': did you mean 'images'?"),
        ({"rules": [{"when": {"images": ["plnted"]}, "set": {}}]}, "did you mean 'planted'?"),
        ({"rules": [{"when": {"images": "planted"}, "sets": {}}]}, "rules: unknown key 'sets': did you mean 'set'?"),
        ({"rules": [{"when": {}, "set": {"stepz": 1}}]}, "did you mean 'steps'?"),
        ({"rules": [{"when": {"images": "planted", "adversary": "lens"}, "set": {"steps": 0}}]}, "the cell 'planted / lens': --steps is 0"),
        ({"exclude": [{"adversary": "lense"}]}, "exclude: unknown value 'lense' of the axis adversary: did you mean 'lens'?"),
        ({"baseline": {"adversary": "nolens"}}, "baseline: unknown value 'nolens'"),
        ({"baseline": None}, "baseline: is missing"),
        ({"measures": ["downstrem"]}, "did you mean 'downstream'?"),
        ({"measures": ["clean", "downstream", "clean"]}, "grid.yaml: measures: 'clean' stands twice"),
        ({"measures": ["downstream_nope"]}, "grid.yaml: measures: no run will have 'downstream_nope': none is probed on several"),
        ({"exclude": [{"adversary": "no lens"}]}, "grid.yaml: baseline: adversary 'no lens' is excluded: nothing would be compared;"),
        ({"axes": GRID["axes"] | {"images": {"n" * 300: {}, "planted": {"shortcut": "arrow"}}}}, "rename the value 'nnnnnnnn"),
        ({"axes": GRID["axes"] | {"images": {"\u00e9" * 125: {}, "planted": {"shortcut": "arrow"}}}}, "268 bytes, and a name may have 255"),
        ({"seeds": [0, 0]}, "seeds: 0 is not allowed"),
        ({"axes": GRID["axes"] | {"more": {"a": {}, "b": {}}}}, "have the same settings"),
        ({"axes": GRID["axes"] | {"data": ["./a b/", "./a_b/"]}}, "would share the directory"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_anything_runs(stub, capsys, changes, message):
    assert call(write_grid(stub, **changes)) == 2
    assert message in one_error(capsys)
    assert not (stub / "out").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--worker", "2"], "unknown setting 'worker': did you mean 'num_workers'?"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--seed", "3"], "seed has no place in a grid"),
        (["--lens", "full_res"], "have the same settings"),
        (["--table"], "holds no grid yet"),
        (["--trust", "nope.py"], "--trust nope.py: there is no such file: leave it out"),
        (["--trust", ablate.__file__], "no run of the grid uses that file: leave it out"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(stub, capsys, argv, message):
    file = write_grid(stub, axes={"lens": ["none", "full_res"]}, baseline={"lens": "none"})
    assert call(file, *argv) == 2
    assert message in one_error(capsys)
    assert not (stub / "out").exists()


TWO = {"data": ["./photos", "./other"], "task": "dataset_classification"}
PROBED = {"probe": ["./x/one", "./y/one", "./y/two"]}


@pytest.mark.parametrize(
    ("settings", "measure", "hint"),
    [
        (TWO, "val_downstream_photo", "did you mean 'downstream_photos'?"),
        (TWO | PROBED, "downstream_photos", "downstream_two"),
        (TWO | PROBED, "probe_lensed_towo", "did you mean 'probe_lensed_two'?"),
        (PROBED | {"probe": "./y/two"}, "downstream_two", "none is probed on several sources"),
    ],
)
def test_a_measure_of_a_source_that_is_not_probed_is_refused_at_the_start(stub, capsys, settings, measure, hint):
    settings = GRID["settings"] | {"lr": 0.1} | settings
    assert call(write_grid(stub, settings=settings, measures=["clean", measure])) == 2
    error = one_error(capsys)
    assert f"grid.yaml: measures: no run will have {measure!r}: " in error
    assert hint in error
    assert not (stub / "out").exists()


def test_measures_of_probed_sources_are_known_by_their_names(stub):
    for settings, measures in (
        (TWO, ["downstream_photos", "val_downstream_other"]),
        (TWO | PROBED, ["downstream_./x/one", "downstream_one", "downstream_two", "downstream_chance"]),
    ):
        grid = read(write_grid(stub, settings=GRID["settings"] | {"lr": 0.1} | settings, measures=measures))
        grid_table.check_probed(grid, grid.runs())


@pytest.mark.parametrize("others", [["clean"], []])
def test_a_measure_that_no_run_has_is_told_and_the_rest_is_written(stub, capsys, others):
    assert call(write_grid(stub)) == 0
    before = (stub / "out" / "summary.md").read_text()
    capsys.readouterr()
    file = write_grid(stub, measures=[*others, "downstream_nope", "source_raw"])
    for argv in ([], ["--table"]):  # what ran may have been probed on more since
        (stub / "out" / "table.csv").unlink()
        assert call(file, *argv) == 0
        told = capsys.readouterr().err
        assert f"{file}: measures: no run has downstream_nope, source_raw, and what is written leaves it out" in told
        assert len(read_csv(stub / "out")) == 8
        text = (stub / "out" / "summary.md").read_text()
        assert "nope" not in text
        assert (text == before) == (not others)  # without a measure, those of a grid that names none


def test_a_trusted_file_may_be_that_of_a_cell_that_is_excluded(stub, monkeypatch):
    monkeypatch.chdir(stub)
    Path("mine.py").write_text((Path(train.__file__).parent / "shortcuts" / "arrow.py").read_text())
    axes = GRID["axes"] | {"images": {"natural": {}, "mine": {"shortcut": "./mine.py"}}}
    assert call(write_grid(stub, axes=axes, exclude=[{"images": "mine"}]), "--trust", "./mine.py") == 0


def test_a_baseline_that_one_group_has_is_enough(stub):
    assert call(write_grid(stub, exclude=[{"adversary": "no lens", "images": "natural"}])) == 0


def test_the_longest_name_of_a_value_runs(stub):
    axes = GRID["axes"] | {"images": {"n" * 237: {}, "planted": {"shortcut": "arrow"}}}
    assert call(write_grid(stub, axes=axes, exclude=[{"images": "planted"}], seeds=[0])) == 0
    assert max(len(log.name) for log in (stub / "out" / "logs").iterdir()) == 237 + len("-no_lens-seed0.log") <= 255


def test_a_directory_of_another_grid_is_refused_and_more_seeds_are_not(stub, capsys):
    assert call(write_grid(stub)) == 0
    capsys.readouterr()
    for changes, message in (
        ({"settings": GRID["settings"] | {"lr": 0.5}}, "lr was 0.1 and is now 0.5"),
        ({"seeds": [0]}, "with a run natural-no_lens-seed1 that this one lacks"),
    ):
        assert call(write_grid(stub, **changes)) == 2
        assert message in one_error(capsys)
    assert call(write_grid(stub), "--batch_size", "2") == 2
    assert "batch_size was 4 and is now 2" in one_error(capsys)
    assert call(write_grid(stub, seeds=[0, 1, 2], measures=["clean"]), "--device", "cpu") == 0
    assert len(read_csv(stub / "out")) == 12
    (stub / "other" / "out").mkdir(parents=True)
    (stub / "other" / "out" / "photo.png").touch()
    assert call(write_grid(stub / "other")) == 2


def test_rules_excludes_and_sections_give_each_cell_its_settings(tmp_path):
    file = write_grid(
        tmp_path,
        axes={"shortcut": ["none", "arrow", "chromatic"], "target_psnr": [20, 25]},
        settings={"chromatic": {"radial": True}, "arrow.size": 0.5, "extractor_args": {"channels": [8, 8]}},
        rules=[
            {"when": {"shortcut": ["arrow", "chromatic"]}, "set": {"steps": 5}},
            {"when": {"shortcut": "arrow", "target_psnr": 20}, "set": {"steps": 6, "arrow": {"strength": 0.5}}},
        ],
        exclude=[{"shortcut": "none", "target_psnr": 25}],
        baseline={"target_psnr": 20},
        seeds=[4],
    )
    runs = {run.slug: set(run.words) for run in read(file).runs()}
    assert list(runs) == [
        "none-20-seed4",
        "arrow-20-seed4",
        "arrow-25-seed4",
        "chromatic-20-seed4",
        "chromatic-25-seed4",
    ]
    assert runs["none-20-seed4"] == {'--extractor_args={"channels": [8, 8]}', "--shortcut=none", "--target_psnr=20"}
    assert {"--steps=6", "--shortcut.size=0.5", "--shortcut.strength=0.5"} <= runs["arrow-20-seed4"]
    assert {"--steps=5", "--shortcut.size=0.5"} <= runs["arrow-25-seed4"]
    assert "--shortcut.radial=true" in runs["chromatic-20-seed4"]
    assert all("--steps=7" in run.words for run in read(file, [("steps", 7)]).runs())
    (tmp_path / "again.yaml").write_text(read(file, [("steps", 7)]).content())
    assert read(tmp_path / "again.yaml").runs() == read(file, [("steps", 7)]).runs()


# --- statistics ----------------------------------------------------------------------------------------------------------


def measured(**parts):
    """A row of the least summary, with these parts."""
    return grid_table.measured(Summary.of_json(SUMMARY | parts))


def test_a_proof_of_removal_has_its_columns_and_its_better_side():
    one = {"raw": 0.5, "raw_ci": [0.4, 0.6], "lensed": 0.45, "lensed_ci": [0.3, 0.5]}
    proof = {
        "raw": {"balanced_accuracy": 0.99, "ci": [0.98, 1.0]},
        "lensed": {"balanced_accuracy": 0.6, "ci": [0.58, 0.62], "trained_on": 0.7, "trained_on_ci": [0.68, 0.72]},
        "downstream": {"raw": 0.7, "lensed": 0.69, "cost": 0.01, "cost_ci": [0.0, 0.02]},
        "frozen": {"raw": 0.3, "raw_ci": [0.2, 0.4], "lensed": 0.31, "lensed_ci": [0.21, 0.41]},
        "probes": {"stl10": one, "places": one | {"lensed": 0.2, "lensed_ci": [0.1, 0.3]}},
        "psnr_planted": 25.2,
        "judges": {"trained_on": "the extractor, trained on"},
    }
    row = measured(removal=proof)
    assert (row["source_raw"], row["source_lensed"], row["source_trained_on"]) == (0.99, 0.6, 0.7)
    assert (row["source_trained_on_low"], row["cost"], row["cost_high"]) == (0.68, 0.01, 0.02)
    assert (row["class_raw"], row["class_lensed"], row["frozen_raw"], row["frozen_lensed_high"]) == (
        0.7,
        0.69,
        0.3,
        0.41,
    )
    assert (row["probe_lensed"], row["probe_lensed_stl10"], row["probe_lensed_places"]) == (0.45, 0.45, 0.2)
    assert (row["probe_raw_places_low"], row["psnr_planted"]) == (0.4, 25.2)
    both = measured(removal=proof, reconstruction={"psnr_planted": 25.3, "psnr_planted_ci": [25.1, 25.5]})
    assert (both["psnr_planted"], both["psnr_planted_low"]) == (25.3, 25.1)  # of the images that psnr is of
    alone = measured(removal=proof | {"probes": {"stl10": one}, "frozen": None, "downstream": None})
    assert "probe_raw_stl10" not in alone
    assert (alone["probe_raw"], alone["frozen_raw"], alone["cost"]) == (0.5, None, None)
    assert grid_table.higher_is_better("source_lensed", []) is False
    assert grid_table.higher_is_better("probe_lensed_places", []) is True
    assert grid_table.higher_is_better("frozen_lensed", []) is True
    assert grid_table.is_share("probe_raw_places", [])
    assert not grid_table.is_share("psnr_planted", [])


def test_validation_figures_of_a_proof_have_their_columns():
    one = {"raw": 0.5, "val_raw": 0.51, "lensed": 0.45, "val_lensed": 0.46}
    proof = {
        "raw": {"balanced_accuracy": 0.99, "ci": [0.98, 1.0], "val_balanced_accuracy": 0.98},
        "lensed": {
            "balanced_accuracy": 0.6, "ci": [0.5, 0.7], "val_balanced_accuracy": 0.61, "trained_on": 0.7,
            "trained_on_ci": [0.6, 0.8], "val_trained_on": 0.71,
        },
        "downstream": {"raw": 0.7, "lensed": 0.69, "cost": 0.01, "val_raw": 0.72, "val_lensed": 0.7, "val_cost": 0.02},
        "frozen": one, "probes": {"stl10": one, "places": one}, "psnr_planted": None, "judges": {"trained_on": "the extractor, trained on"},
    }  # fmt: skip
    row = measured(removal=proof)
    expected = {
        "source_raw": 0.98, "source_lensed": 0.61, "source_trained_on": 0.71, "class_raw": 0.72, "class_lensed": 0.7, "cost": 0.02,
        "frozen_raw": 0.51, "frozen_lensed": 0.46, "probe_raw": 0.51, "probe_lensed_places": 0.46,
    }  # fmt: skip
    assert {name: row[f"val_{name}"] for name in expected} == expected
    assert grid_table.is_share("val_source_raw", [])
    assert grid_table.higher_is_better("val_cost", []) is False


def test_a_measure_without_validation_figures_is_shown_as_such(tmp_path):
    """Runs of older versions have none, seconds and the like can have none, and SSIM is not taken of validation images."""
    measures = ["downstream", "ssim", "seconds", "val_knn"]
    grid = read(write_grid(tmp_path, measures=measures))
    grid_table.check_measures(grid)
    photos = {"linear": 0.5, "chance": 0.1, "n_train": 9, "n_test": 9}
    old = measured(downstream={"photos": photos}, seconds=3.0)
    rows = [{**run.cell, "seed": run.seed, "status": "finished", "directory": "d"} | old for run in grid.runs()]
    headings, lines, _ = grid_summary.overview(grid, rows)
    assert headings[3:] == ["downstream (%)", "val_downstream (%)", "ssim", "val_ssim", "seconds (s)", "val_knn (%)"]
    assert lines[0][3:] == ["50.0 ± 0.0", "–", "–", "–", "3 ± 0", "–"]
    assert "There are none here (–)" in grid_summary.markdown(grid, rows)
    alone = read(write_grid(tmp_path, measures=["seconds"]))
    assert grid_summary.choice(alone, rows) == []
    with pytest.raises(BadInput, match="unknown measure 'val_seconds'"):
        grid_table.check_measures(read(write_grid(tmp_path, measures=["val_seconds"])))


def test_what_each_judge_reads_can_be_a_measure_and_one_has_another_name_than_in_0_3(tmp_path):
    grid = read(write_grid(tmp_path, measures=["source_forensic", "val_source_forensic", "source_adversary"]))
    assert list(grid.measures) == ["source_forensic", "val_source_forensic", "source_trained_on"]
    grid_table.check_measures(grid)
    grid_table.check_measures(read(write_grid(tmp_path, measures=["source_raised"])))
    with pytest.raises(BadInput, match="unknown measure 'source_forensik': did you mean 'source_forensic'"):
        grid_table.check_measures(read(write_grid(tmp_path, measures=["source_forensik"])))


def test_a_table_has_columns_of_a_proof_only_where_a_run_was_proved(tmp_path):
    grid = read(write_grid(tmp_path))
    row, *_ = grid_table.rows(tmp_path / "nothing ran", grid, grid.runs(), {})
    assert row["status"] == "missing"
    assert {"downstream", "clean", "psnr"} <= row.keys()
    assert not [name for name in row if name.startswith(("source_", "val_source_", "class_", "frozen_"))]


def slow_holm(ps):
    """Holm (1979), said literally: step through the sorted hypotheses at every level α until one is kept."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])

    def rejected(alpha):
        found = set()
        for step, i in enumerate(order):
            if ps[i] > alpha / (len(ps) - step):
                break
            found.add(i)
        return found

    grid = sorted({min(1.0, p * k) for p in ps for k in range(1, len(ps) + 1)} | {1.0})
    return [min((a for a in grid if i in rejected(a * (1 + 1e-12))), default=1.0) for i in range(len(ps))]


def test_holm_is_the_textbooks_and_the_literal_one():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 9):
        ps = list(rng.random(count) ** 3)
        assert holm(ps) == pytest.approx(slow_holm(ps))


def test_the_paired_test_is_the_formula_over_the_common_seeds():
    arm, baseline = {0: 0.71, 1: 0.74, 2: 0.70, 9: 0.1}, {2: 0.66, 1: 0.69, 0: 0.70, 7: 0.9}
    found = paired(arm, baseline)
    d = np.array([0.01, 0.05, 0.04])
    error = d.std(ddof=1) / math.sqrt(3)
    half = stats.t.ppf(0.975, 2) * error
    assert (found.n, found.difference) == (3, pytest.approx(d.mean()))
    assert (found.low, found.high) == (pytest.approx(d.mean() - half), pytest.approx(d.mean() + half))
    assert found.p == pytest.approx(2 * stats.t.sf(d.mean() / error, 2))
    assert mean_sem([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert mean_sem([1.0]) == (1.0, None)


def test_without_pairs_or_spread_there_is_no_p_and_no_warning():
    assert paired({}, {0: 1.0}) == paired({1: 2.0}, {0: 1.0})
    assert paired({0: 2.0}, {0: 1.0}).p is None
    assert paired({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}).p == 1
    shifted = paired({0: 0.3 + 0.1, 1: 0.6 + 0.1, 2: 0.8}, {0: 0.3, 1: 0.6, 2: 0.7})
    assert shifted.p is None
    assert shifted.difference == pytest.approx(0.1)


def test_bold_is_where_the_corrected_p_is_below_5_percent(stub):
    assert call(write_grid(stub, seeds=[0, 1, 2, 3])) == 0
    rows = read_csv(stub / "out")
    values = {key: [] for key in itertools.product(("natural", "planted"), ("no lens", "lens"))}
    for row in rows:
        values[row["images"], row["adversary"]].append(float(row["downstream"]))
    raw = {images: stats.ttest_rel(values[images, "lens"], values[images, "no lens"]).pvalue for images in ("planted",)}
    corrected = raw["planted"] * 2  # the natural arms are equal: p = 1, and counts
    assert corrected < 0.05
    text = (stub / "out" / "summary.md").read_text()
    mean = 100 * np.mean(values["planted", "lens"])
    sem = 100 * np.std(values["planted", "lens"], ddof=1) / 2
    assert (
        f"| planted | lens | 4 | **{mean:.1f} ± {sem:.1f} ▲** | {mean - 5:.1f} ± {sem:.1f} | 25.0 ± 0.0 | 26.0 ± 0.0 |"
        in text
    )
    assert "| downstream (%) | val_downstream (%) | clean (%) | val_clean (%) |" in text
    assert "Choose by the columns marked val; the others are test figures and are for reporting." in text
    assert "of the pretext task and the PSNR are of 6 images a run. Those of probes are of 7 images a run." in text
    assert "Corrected for 2 comparisons." in text
    assert "fewer than five seeds" in text
    assert "| natural | lens | 4 | +0.0 | 1.0000 | 1.0000 |" in text
    assert text.count("**") == 2 + 2 + 6


def entry_of(arm, baseline, others=0):
    """The tested entry of one arm, among `others` comparisons with p near 1."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        axes = {"images": {f"g{i}": {"lr": 0.1 + i} for i in range(others + 1)}, "lens": ["none", "full_res"]}
        grid = read(write_grid(Path(folder), axes=axes, baseline={"lens": "none"}, seeds=list(range(len(arm)))))
    rows = []
    for i, seed in itertools.product(range(others + 1), range(len(arm))):
        for lens, values in (("none", baseline), ("full_res", arm if i == 0 else baseline)):
            cell = {"images": f"g{i}", "lens": lens, "seed": seed, "status": "finished"}
            rows.append(cell | {"metric": "loss", "clean": values[seed], "downstream": values[seed]})
    return {measure: grid_summary.entries(grid, rows, measure)[1] for measure in ("clean", "downstream")}


def test_a_p_that_the_correction_lifts_over_5_percent_is_not_bold():
    arm, baseline = [0.50, 0.52, 0.58, 0.55], [0.45, 0.46, 0.50, 0.52]
    alone, among = entry_of(arm, baseline)["downstream"], entry_of(arm, baseline, 9)["downstream"]
    assert alone.test.p == among.test.p == pytest.approx(alone.corrected)
    assert among.corrected == pytest.approx(10 * alone.test.p)
    assert (alone.significant, alone.mark()) == (True, " ▲")
    assert (among.significant, among.mark()) == (False, "")
    assert entry_of(arm, baseline)["clean"].mark() == " ▼"  # a loss: lower is better


# --- sweeps --------------------------------------------------------------------------------------------------------------


def expand(file):
    """The commands of a sweep's agent: the product of the values as --key=value, as W&B's ${args} writes them."""
    sweep = yaml.safe_load(file.read_text())
    assert sweep["method"] == "grid"
    names = list(sweep["parameters"])
    values = [part["values"] if "values" in part else [part["value"]] for part in sweep["parameters"].values()]
    for chosen in itertools.product(*values):
        words = [f"--{name}={value}" for name, value in zip(names, chosen, strict=True)]
        yield [w for word in sweep["command"] for w in (words if word == "${args}" else [word])]


@pytest.mark.parametrize("name", ["rotation", "shortcuts"])
def test_a_sweeps_commands_run(tmp_path, name, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    write_parquet(tmp_path / "cifar10" / "train-0.parquet", 80)
    write_parquet(tmp_path / "cifar10" / "test-0.parquet", 20, start=9)
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "configs", tmp_path / "configs")
    commands = list(expand(ROOT / "configs" / "sweeps" / f"{name}.yaml"))
    assert len(commands) == len({tuple(command) for command in commands}) == 24
    for number, command in enumerate((commands[0], commands[-1])):
        assert command[:3] == ["python", "-m", "lens.train"]
        assert command[command.index("--wandb") + 1] == "online"
        asked = dict(word[2:].split("=", 1) for word in command if "=" in word)
        config = asked.get("config") or command[command.index("--config") + 1]
        lens = yaml.safe_load(Path(config).read_text())["lens"]
        tiny = [*TINY, "--extractor_args", "{}", "--extractor_stem", "default", "--steps", "1", "--test_images", "8"]
        tiny += ["--precision", "32"]  # few CPUs have instructions for bf16
        tiny = fit([*tiny, "--lens", lens])
        assert train.main([*command[3:], *tiny, "--wandb", "disabled", "--out", f"run{number}"]) == 0
        settings = yaml.safe_load(Path(f"run{number}/settings.yaml").read_text())
        assert settings["lens"] == lens
        for key in ("shortcut", "seed"):
            assert str(settings[key]) == asked[key]


def test_several_files_are_trusted_at_once_and_one_with_its_flag():
    words = ["g.yaml", "--trust", "a.py", "b.py", "--jobs", "2", "--seed", "1", "--", "--x"]
    assert ablate.split_words(words) == (["g.yaml", "--trust", "a.py", "b.py", "--jobs", "2"], ["--seed", "1", "--x"])
    assert ablate.split_words(["g.yaml", "--trust=a.py", "--seed", "1"]) == (
        ["g.yaml", "--trust=a.py"],
        ["--seed", "1"],
    )


@pytest.mark.parametrize(
    "file",
    sorted(file for kind in ("ablations", "removal") for file in (ROOT / "configs" / kind).glob("*.yaml")),
    ids=lambda file: file.stem,
)
def test_shipped_grids_are_valid(file, monkeypatch):
    monkeypatch.chdir(ROOT)  # plug-ins of their own are named from here
    grid = read(file)
    grid_table.check_measures(grid)
    head = file.read_text()
    (command,) = re.findall(r"# Run: +python -m lens\.ablate (.*)", head)
    own, rest = ablate.split_words(shlex.split(command))
    asked = parse_simple(own, "lens.ablate", ablate.AblateSettings, "grid", "")
    assert grid.runs(trusted=asked.trust)
    assert not [word for word in rest if word.endswith(".py")]
    for word in ("# Shows:", "# Costs:", "# Run:", "# Needs:"):
        assert word in head
