"""Run directories of every earlier version are read, go on, and are measured and compared as before."""

import json
import math
import shutil

import old_runs
import pytest
from old_runs import ARROW, COMMON, FGSM, FURTHER, NONE, RUNS, SOURCES, STEPS
from tiny import PENALTIES

from lens import compare, probe, train
from lens.figures import maps as maps_figures
from lens.figures import transfer as transfer_figures
from lens.measuring import logistic
from lens.players import rival_target
from lens.players.finished import FinishedRun
from lens.record.run import Run
from lens.settings.parsing import parse

EACH = pytest.mark.parametrize(("version", "name"), RUNS)
SINCE_0_3 = {
    "steering": "integral", "lens_grey": "free", "lens_noise": 0.0, "lens_update_every": 1, "lens_ema": 0.0, "adam_beta1": 0.9, "lr_schedule": "cosine",
    "mixup": 0.0, "rand_augment": 0.0, "judge_fraction": None, "group_by": None, "prove": False,
}  # fmt: skip
SINCE_0_2 = {"grey": None, "shuffle_labels": False, "probe_test_images": None}
SINCE_0_1 = {"cache": "disk", "match_mse": None, "sync_batchnorm": "global", "wandb": "disabled"}
LACKED = {"0.1.0": SINCE_0_1 | SINCE_0_2 | SINCE_0_3, "0.2.0": SINCE_0_2 | SINCE_0_3, "0.3.0": SINCE_0_3}
"""Settings that a version did not have, each with what it did."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder that holds the pictures that the old runs were trained on, by the paths in their settings."""
    place = tmp_path_factory.mktemp("pictures")
    old_runs.photos(place)
    return place


@pytest.fixture(autouse=True)
def _every_penalty(monkeypatch):
    """Those that the versions chose from."""
    monkeypatch.setattr(logistic, "PENALTIES", PENALTIES)


@pytest.fixture
def old(pictures, tmp_path, monkeypatch):
    """Gives a copy of a run of a version; its working folder is that of the pictures, where nothing else is."""
    monkeypatch.chdir(pictures)

    def taken(version, name):
        return Run.open(old_runs.take(version, name, tmp_path / version))

    return taken


ANSWERED = {"raw", "lensed", "clean", "linear", "knn", "untrained", "pixels"}
"""Figures that count answers (no task here is without classes)."""


def alike(mine, theirs, name=""):
    """Whether figures are those of an older version, which may lack some of today's.

    Where they were made they are the same to the last bit. Another machine rounds otherwise: with vectors of a quarter of the
    width losses moved by up to 1e-4 of their size and errors by 3e-3, and an answer, of fourteen or more, may be another one.
    """
    if isinstance(theirs, dict):
        return mine.keys() >= theirs.keys() and all(alike(mine[key], theirs[key], key) for key in theirs)
    if isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=5e-3, abs_tol=1 / 14 if name in ANSWERED else 0)
    return mine == theirs


def losses(lines):
    """A record's lines without speed, and without gradients' norms, which jump where rounding moves a unit past ReLU's kink."""
    left_out = {"images_per_second", "extractor_gradient", "lens_gradient"}
    return [{key: value for key, value in line.items() if key not in left_out} for line in lines]


def figures(summary):
    """The figures in a summary that every version measures, of every image that it measured."""
    summary = summary.to_json()
    pretext = {key: summary["pretext"].get(key) for key in ("metric", "images", "chance", "raw", "lensed", "clean")}
    changed = {key: (summary.get("reconstruction") or {}).get(key) for key in ("mse", "psnr", "psnr_planted", "ssim")}
    probes = {
        source: {key: found[key] for key in ("linear", "knn", "untrained", "pixels", "chance", "n_train", "n_test")}
        for source, found in summary["downstream"].items()
    }
    return {"pretext": pretext, "reconstruction": changed, "probes": probes}


@EACH
def test_what_a_version_did_not_have_is_read_as_what_it_did(old, version, name):
    run = old(version, name)
    stored = run.settings()
    read = FinishedRun.of(run, [], {}).parsed.plain
    assert run.origin()["lens"] == version
    assert not LACKED[version].keys() & stored.keys()
    assert {key: read[key] for key in LACKED[version]} == LACKED[version]
    assert {key: read[key] for key in stored} == stored


@EACH
def test_a_summary_is_read_in_todays_names(old, version, name):
    run = old(version, name)
    written = json.loads((run.directory / "summary.json").read_text())["reconstruction"]
    assert "all_psnr" not in run.summary().reconstruction.more
    read = run.summary().reconstruction.to_json()
    assert (read["psnr"], read["psnr_planted"]) == (written["all_psnr"], written["psnr"])
    assert (read["mse_planted"], read["mse_planted_ci"]) == (written["mse"], written.get("mse_ci"))
    if name != "none":
        assert (read["psnr"] == read["psnr_planted"]) == (version != "0.2.0")  # one of its two sources has no cue
        assert read["psnr"] == pytest.approx(-10 * math.log10(read["mse"]))


@EACH
def test_a_finished_run_is_trained_further_as_its_version_did(old, version, name):
    run = old(version, name)
    before = run.metrics()
    assert train.main(["--resume", str(run.directory), "--steps", str(FURTHER)]) == 0
    after = run.metrics()
    assert after[: len(before)] == before
    theirs = [json.loads(line) for line in old_runs.further(version, name).read_text().splitlines()]
    assert [line["step"] for line in theirs] == [7, 8, 8]
    for line, their in zip(losses(after[len(before) :]), losses(theirs), strict=True):
        assert alike(line, their)
    trained = run.summary().trained
    assert (trained.steps, trained.resumed) == (FURTHER, 1)
    assert ("mse" in after[-1]) == (name != "none")  # what a rival is held to, which 0.1.0 did not record
    assert run.summary().validation.raw == after[-1]["raw"]


@pytest.mark.parametrize(("version", "name"), [("0.1.0", "lens"), ("0.3.0", "jigsaw")])
def test_an_interrupted_run_ends_as_it_did(old, version, name):
    run = old(version, name)
    before, summary = run.metrics(), run.summary()
    shutil.rmtree(run.last_checkpoint_path())
    for file in (run.directory / "summary.json", *run.directory.glob("*.safetensors")):
        file.unlink()
    assert train.main(["--resume", str(run.directory)]) == 0
    for line, their in zip(losses(run.metrics()), losses(before), strict=True):
        assert alike(line, their)
    assert alike(figures(run.summary()), figures(summary))


@EACH
def test_a_probe_finds_what_the_version_found(old, version, name):
    run = old(version, name)
    summary = run.summary()
    assert probe.main([str(run.directory)]) == 0
    assert alike(figures(run.summary()), figures(summary))
    assert run.summary().validation.raw == run.metrics()[-1]["raw"]


def test_lenses_of_several_versions_are_compared(old, tmp_path, monkeypatch):
    monkeypatch.setattr(maps_figures, "maps_picture", lambda *found: b"")
    monkeypatch.setattr(transfer_figures, "transfer_picture", lambda *found: b"")
    runs = [old("0.1.0", "lens"), old("0.3.0", "jigsaw")]
    asked = [*(str(run.directory) for run in runs), "--maps", "--transfer", "--out", str(tmp_path / "compared")]
    assert compare.main(asked) == 0
    maps, transfer = (json.loads((tmp_path / "compared" / f"{kind}.json").read_text()) for kind in ("maps", "transfer"))
    for number, run in enumerate(runs):
        summary = run.summary()
        psnr = summary.reconstruction.psnr.value
        assert maps["runs"][number]["psnr"] == psnr
        (own,) = (cell for cell in transfer["cells"] if cell["task"] == cell["lens"] == number)
        assert alike(own, {"psnr": psnr, "lensed": summary.pretext.lensed.value})


def test_a_rival_of_today_is_held_to_an_older_lens(old):
    lens = old("0.2.0", "lens")
    words = [*COMMON, *SOURCES, *FGSM[:-1], str(lens.directory)]
    assert rival_target.target_mse(parse(words, "lens.train")) == lens.metrics()[-1]["mse"]


def test_a_lens_whose_version_recorded_no_error_says_how_to_hold_a_rival_to_it(old, tmp_path, capsys):
    place = str(old("0.1.0", "lens").directory)  # trained further, it records one
    assert train.main([*COMMON, *ARROW, *FGSM[:-1], place, "--out", str(tmp_path / "rival")]) == 2
    error = capsys.readouterr().err
    assert "version 0.1.0 did not record the error before rounding" in error
    assert f"--resume {place} --steps {STEPS + 1}), or give a value, such as its error at 8 bits, 2.54e-05" in error
    assert not (tmp_path / "rival").exists()


def test_a_control_of_today_serves_a_fusion_of_older_runs(old, tmp_path):
    lens, none = old("0.1.0", "lens"), old("0.3.0", "none")
    control = str(tmp_path / "control")
    assert train.main([*COMMON, *ARROW, *NONE, "--seed", "1", "--out", control]) == 0
    assert probe.main([str(lens.directory), "--fuse", str(none.directory), "--fuse_control", control]) == 0
    assert lens.summary().downstream["photos"].fusion
