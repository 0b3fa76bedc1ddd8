"""Whole runs: what they leave behind, and that a run killed at any moment ends as if nothing had happened."""

import gzip
import json
import math
import os
import random
import shutil
import signal
import time
from pathlib import Path

import forks
import numpy as np
import pytest
import torch
from pictures import write_folder
from safetensors.torch import load_file
from tiny import TINY, fit, made_lens

from lens import probe, train
from lens.base.errors import BadInput
from lens.base.files import write_tensors
from lens.players.weights import SIDE, load_weights
from lens.training.learner import rate_share
from lens.training.trainer import Trainer

WEIGHTS = ("extractor.safetensors", "head.safetensors", "lens.safetensors")


def run(out, photos, *more):
    argv = fit([*TINY, "--data", str(photos), "--out", str(out), *more])
    return train.main(argv)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photos):
    """One small run with a planted arrow, uninterrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert run(out, photos, "--shortcut", "arrow", "--target_psnr", "20") == 0
    return out


def same_weights(a, b):
    for name in WEIGHTS:
        first, second = load_file(a / name), load_file(b / name)
        assert first.keys() == second.keys()
        for key in first:
            assert torch.equal(first[key], second[key]), (name, key)


def test_a_run_leaves_what_it_promises(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"settings.yaml", "metrics.jsonl", "summary.json", "checkpoint", "best", "figures", "commands.txt"} <= names
    assert set(WEIGHTS) <= names
    assert {p.name for p in (finished / "checkpoint").iterdir()} == {"step-00000004", "step-00000006"}
    assert {p.name for p in (finished / "best").iterdir()} == set(WEIGHTS)
    assert {"edits.png", "edit_map.png", "curves.png", "edits.npz"} <= {
        p.name for p in (finished / "figures").iterdir()
    }
    assert not [path for path in finished.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".ckpt")]
    with gzip.open(finished / "splits.jsonl.gz", "rt") as stream:
        assert len(stream.readlines()) == 60


def test_the_summary_has_every_figure_with_its_interval(finished):
    summary = json.loads((finished / "summary.json").read_text())
    for key in ("task", "data", "shortcut", "lens", "objective", "recon_weight", "seed", "steps", "images_seen", "seconds", "images_per_second", "versions", "git_commit", "command"):  # fmt: skip
        assert key in summary, key
    assert summary["images_seen"] == 24
    probes = list(summary["downstream"].values())
    assert set(summary["downstream"]) == {"photos"}
    assert {"linear", "knn", "untrained", "chance", "n_train", "n_test"} <= set(probes[0])
    parts = [(summary["pretext"], ("raw", "lensed", "clean", "gap")), (probes[0], ("linear", "knn", "untrained", "pixels")), (summary["reconstruction"], ("mse", "psnr", "ssim"))]  # fmt: skip
    for part, keys in parts:
        for key in keys:
            low, high = part[f"{key}_ci"]
            assert low <= part[key] <= high, key
    assert summary["command"].startswith("python -m lens.train --extractor all_conv")


def test_the_record_has_losses_norms_and_held_out_figures(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in training] == [2, 3, 4, 6]  # every second step, and before an evaluation
    for key in (
        "extractor",
        "adversarial",
        "reconstruction",
        "extractor_gradient",
        "lens_gradient",
        "recon_weight",
        "lr",
    ):
        assert all(np.isfinite(line[key]) for line in training), key
    assert training[0]["recon_weight"] != training[-1]["recon_weight"]  # steered
    assert [line["step"] for line in lines if line["kind"] == "val"] == [3, 6]


def test_lambda_does_not_wind_up_behind_a_stage_that_cannot_be_undone(tmp_path, photos, capsys):
    """So much noise stands before the lens that no weight brings it to 40 dB: λ, heavy from the start, rises by the last error alone."""
    heavy = ["--lens", "noise+full_res", "--lens.noise.sigma", "0.3", "--target_psnr", "40", "--recon_weight", "100000"]
    assert run(tmp_path / "r", photos, *heavy) == 0
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["kind"] == "train"]
    assert all(line["pull"] > 1 for line in training)
    assert [line["recon_weight"] for line in training] == pytest.approx([100000 * math.e] * len(training))
    told = " ".join(capsys.readouterr().err.split())
    assert "dB on test images, --target_psnr 40; try more --steps" in told


def test_a_weight_that_is_given_stays_and_one_that_is_steered_by_the_sum_moves_by_a_twentieth_a_step(tmp_path, photos):
    def weights(name, *argv):
        assert run(tmp_path / name, photos, "--log_every", "1", "--steps", "3", *argv) == 0
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [line["recon_weight"] for line in lines if line["kind"] == "train"]

    assert weights("fixed", "--recon_weight", "30") == [30, 30, 30]
    # It begins as the identity, far above its target.
    assert weights("sum", "--steering", "integral")[0] == pytest.approx(100 * math.exp(-0.05))
    assert weights("pi")[0] == pytest.approx(100 * math.exp(-1.1))


def test_without_a_lens_lensed_figures_are_null(tmp_path, photos):
    assert run(tmp_path / "r", photos, "--lens", "none") == 0
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["pretext"]["lensed"] is None
    assert summary["reconstruction"]["psnr"] is None
    assert summary["pretext"]["raw"] == summary["pretext"]["clean"]
    assert not (tmp_path / "r" / "lens.safetensors").exists()


@pytest.mark.parametrize("mode", [["--feed", "lensed"], ["--batch_norm", "joint"], ["--objective", "full", "--grad_accum_steps", "2"], ["--objective", "uniform", "--optimizer", "sgd"], ["--precision", "bf16", "--augment", "inception"]])  # fmt: skip
def test_every_mode_trains(tmp_path, photos, mode):
    assert run(tmp_path / "r", photos, "--steps", "2", *mode) == 0
    assert (tmp_path / "r" / "summary.json").exists()


def test_an_extractor_fed_lensed_images_only_is_measured_with_both_sets_of_statistics(tmp_path, photos):
    assert run(tmp_path / "r", photos, "--feed", "lensed", "--lr", "1e-2") == 0
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert {"raw", "raw_ci", "clean"} <= set(summary["pretext"]["lensed_statistics"])
    assert "linear_lensed_statistics_ci" in summary["downstream"]["photos"]
    raw = load_file(tmp_path / "r" / "extractor.safetensors")["layers.0.1.running_mean"]
    lensed = load_file(tmp_path / "r" / "head.safetensors")["lensed_statistics.0.running_mean"]
    assert raw.abs().max() > 0
    assert not torch.equal(raw, lensed)


def test_the_same_seed_gives_the_same_weights_with_any_workers(tmp_path, photos, finished):
    more = ("--shortcut", "arrow", "--target_psnr", "20")
    assert run(tmp_path / "again", photos, *more, "--num_workers", "2") == 0
    same_weights(finished, tmp_path / "again")
    assert run(tmp_path / "other", photos, *more, "--seed", "1") == 0
    with pytest.raises(AssertionError):
        same_weights(finished, tmp_path / "other")


def test_initial_weights_come_from_files(tmp_path, photos, finished):
    files = (
        "--extractor_weights",
        str(finished / "extractor.safetensors"),
        "--lens_weights",
        str(finished / "lens.safetensors"),
    )
    assert (
        run(
            tmp_path / "r", photos, "--lr", "1e-12", "--lens_lr", "1e-12", "--weight_decay", "0", "--steps", "1", *files
        )
        == 0
    )
    for name in ("extractor", "lens"):
        before, after = (load_file(d / f"{name}.safetensors") for d in (finished, tmp_path / "r"))
        for key, value in before.items():
            if "running" not in key and "num_batches" not in key:
                assert torch.allclose(after[key], value, atol=1e-6), key


def test_a_lens_that_was_trained_at_another_size_is_told(tmp_path, photos, finished, capsys):
    more = ("--image_size", "24", "--cache_image_size", "24", "--steps", "1", "--lens_weights")
    assert run(tmp_path / "other", photos, *more, str(finished / "lens.safetensors")) == 0
    assert "was trained at 16 px and the images have 24: it edits them at 16 px" in capsys.readouterr().err
    assert (
        run(tmp_path / "same", photos, "--steps", "1", "--lens_weights", str(finished / "best" / "lens.safetensors"))
        == 0
    )
    assert "was trained at" not in capsys.readouterr().err
    # A run at another size goes on with the lens at its own: that is what is told of its weights, wherever they lie.
    copied = shutil.copy(tmp_path / "other" / "lens.safetensors", tmp_path / "elsewhere.safetensors")
    for number, file in enumerate((tmp_path / "other" / "lens.safetensors", copied)):
        assert run(tmp_path / f"third{number}", photos, *more, str(file)) == 0
        assert "was trained at 16 px and the images have 24: it edits them at 16 px" in capsys.readouterr().err
    same_weights(tmp_path / "third0", tmp_path / "third1")


@pytest.mark.parametrize("said", ["", "0", "9" * 30, "32.5", "٣٢"])
def test_a_lens_whose_file_tells_of_an_impossible_size_is_refused(tmp_path, said):
    lens = made_lens("full_res", depth=3)
    write_tensors(tmp_path, {"lens": lens.state_dict()}, {"lens": {SIDE: said}})
    with pytest.raises(BadInput, match=r"--lens_weights .* is damaged: it says that it was trained at"):
        load_weights(lens, tmp_path / "lens.safetensors", "--lens_weights")


def test_a_lens_that_was_trained_with_noise_is_missed_without(tmp_path, photos, capsys):
    assert run(tmp_path / "with", photos, "--steps", "1", "--lens_noise", "0.03") == 0
    weights = ("--steps", "1", "--lens_weights", str(tmp_path / "with" / "lens.safetensors"))
    assert run(tmp_path / "without", photos, *weights) == 0
    assert "with --lens_noise 0.03 and this run has 0: what the noise covered may be seen" in capsys.readouterr().err
    assert run(tmp_path / "more", photos, *weights, "--lens_noise", "0.04") == 0
    assert "this run has 0.04: its images get more noise than then" in capsys.readouterr().err
    assert run(tmp_path / "again", photos, *weights, "--lens_noise", "0.03") == 0
    assert "was trained with" not in capsys.readouterr().err


def test_rates_rise_then_fall_along_a_cosine():
    shares = [rate_share(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert shares[55] == pytest.approx(0.5)
    assert shares[-1] < 0.001


# --- probe -----------------------------------------------------------------------------------------------------------


def test_a_probe_gives_the_runs_own_figures_again_and_adds_other_sources(tmp_path, photos, finished, capsys):
    before = json.loads((finished / "summary.json").read_text())
    other = write_folder(tmp_path / "other", 25, classes=3, seed=5)
    assert probe.main([str(finished), "--probe", str(photos), str(other)]) == 0
    after = json.loads((finished / "summary.json").read_text())
    assert after["downstream"]["photos"] == before["downstream"]["photos"]
    assert after["pretext"] == before["pretext"]
    assert after["reconstruction"] == before["reconstruction"]
    assert after["validation"] == before["validation"]
    assert after["downstream"]["other"]["chance"] < 0.6
    assert probe.main([str(finished), "--weights", "best"]) == 0
    # Validation figures are those of the weights: the last evaluation's, or that of the best ones.
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    evaluated = {line["step"]: line for line in lines if line["kind"] == "val"}
    best = json.loads((finished / "summary-best.json").read_text())["validation"]
    for found, step in ((after["validation"], 6), (best, before["best"]["step"])):
        assert {name: found[name] for name in ("raw", "lensed", "clean", "psnr")} == {
            name: evaluated[step][name] for name in ("raw", "lensed", "clean", "psnr")
        }
        assert found["gap"] == pytest.approx(found["raw"] - found["lensed"])
    again = write_folder(tmp_path / "elsewhere" / "other", 25, seed=6)
    assert probe.main([str(finished), "--probe", str(again)]) == 0
    both = json.loads((finished / "summary.json").read_text())["downstream"]
    assert both["other"] == after["downstream"]["other"]  # not overwritten by a namesake
    assert both[str(again)]["source"] == str(again)
    assert train.main(["--resume", str(finished)]) == 0  # measures again, and keeps what probes added
    assert json.loads((finished / "summary.json").read_text())["downstream"] == both
    assert "linear" in capsys.readouterr().out


# --- stopping and resuming -------------------------------------------------------------------------------------------

KILLED = ["--shortcut", "arrow", "--target_psnr", "20", "--test_images", "8", "--probe_images", "20"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, photos):
    """A run in a process of its own, and its seconds."""
    folder = tmp_path_factory.mktemp("runs")
    argv = [*TINY, "--data", str(photos), *KILLED, "--out"]
    assert forks.run(train.main, *argv, str(folder / "warm"), log=folder / "log") == 0  # imports, cache
    started = time.monotonic()
    assert forks.run(train.main, *argv, str(folder / "whole"), log=folder / "log") == 0
    return folder / "whole", time.monotonic() - started


def test_a_run_killed_at_ten_random_moments_ends_with_the_same_weights(tmp_path, photos, uninterrupted):
    whole, seconds = uninterrupted
    rng = random.Random(0)
    seen = set()
    for trial in range(10):
        out = tmp_path / f"run{trial}"
        argv = [*TINY, "--data", str(photos), "--out", str(out), *KILLED]
        child = forks.start(train.main, *argv, log=tmp_path / "log")
        # Spread over the whole run: start, steps, writes, measuring.
        time.sleep(seconds * (trial + rng.random()) / 10)
        child.kill()  # it may just have finished: that is a moment too
        child.join()
        steps = sorted((out / "checkpoint").glob("step-*"))
        seen.add("finished" if (out / "summary.json").exists() else steps[-1].name if steps else out.exists())
        # A start that was killed before there was a run is begun again, by the command itself.
        again = ["--resume", str(out)] if (out / "settings.yaml").exists() else argv
        assert forks.run(train.main, *again, log=tmp_path / "log") == 0, (trial, seen)
        same_weights(whole, out)
        expected, got = ([json.loads(x) for x in (d / "metrics.jsonl").read_text().splitlines()] for d in (whole, out))
        for a, b in zip(expected, got, strict=True):
            for key in a.keys() - {"images_per_second"}:
                assert a[key] == b[key], (trial, key)
    assert len(seen) >= 3, seen  # the moments were really different ones


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_cleanly(tmp_path, photos, number):
    out = tmp_path / "r"
    argv = [
        *TINY,
        "--data",
        str(photos),
        "--out",
        str(out),
        *KILLED,
        "--steps",
        "100000",
        "--checkpoint_every",
        "100000",
    ]
    child = forks.start(train.main, *argv, log=tmp_path / "log")
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == 128 + number
    saved = sorted((out / "checkpoint").glob("step-*"))
    assert len(saved) == 1
    step = json.loads((saved[0] / "state.json").read_text())["step"]
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert max(line["step"] for line in lines) == step > 0


def test_a_signal_during_an_evaluation_is_not_lost(tmp_path, photos, monkeypatch, capsys):
    real = Trainer.evaluate

    def signalled(self, run):
        real(self, run)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "evaluate", signalled)
    assert run(tmp_path / "r", photos, "--checkpoint_every", "100") == 128 + signal.SIGTERM
    assert "step 3 is saved" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "r" / "checkpoint").iterdir()] == ["step-00000003"]
    monkeypatch.undo()
    assert train.main(["--resume", str(tmp_path / "r")]) == 0


def test_a_resumed_run_may_train_longer_but_not_otherwise(tmp_path, photos, capsys):
    assert run(tmp_path / "r", photos) == 0
    assert train.main(["--resume", str(tmp_path / "r"), "--lr", "0.5"]) == 2
    assert "lr was 0.001 and is now 0.5" in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "r"), "--steps", "3"]) == 2
    assert "already trained 6 steps" in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "r"), "--steps", "8"]) == 0
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["steps"] == 8
    assert summary["resumed"] == 1


def test_a_finished_run_without_its_checkpoint_is_not_begun_anew(tmp_path, photos, capsys):
    assert run(tmp_path / "r", photos) == 0
    shutil.rmtree(tmp_path / "r" / "checkpoint")

    def held():
        return {
            file: file.read_bytes() for file in (tmp_path / "r").rglob("*") if file.is_file() and file.name != "lock"
        }

    before = held()
    for more in ([], ["--steps", "8"]):
        assert train.main(["--resume", str(tmp_path / "r"), *more]) == 2
        assert "has been trained, and its checkpoint/ holds none" in capsys.readouterr().err
    assert held() == before
    (tmp_path / "r" / "summary.json").unlink()  # as an error line may advise
    assert train.main(["--resume", str(tmp_path / "r")]) == 2
    (tmp_path / "r" / "extractor.safetensors").unlink()  # as of a run that was killed before its first checkpoint
    assert train.main(["--resume", str(tmp_path / "r")]) == 0


def test_later_lines_and_a_torn_last_line_are_cut(tmp_path, photos):
    assert run(tmp_path / "r", photos) == 0
    with open(tmp_path / "r" / "metrics.jsonl", "a") as stream:
        stream.write('{"kind": "train", "step": 7}\n{"kind": "tra')
    assert train.main(["--resume", str(tmp_path / "r"), "--steps", "8"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [2, 3, 4, 6, 8]


def test_a_run_is_not_resumed_on_other_images(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", 20)
    assert run(tmp_path / "r", folder) == 0
    (folder / "class0" / "000.png").rename(folder / "class0" / "other.png")
    assert train.main(["--resume", str(tmp_path / "r"), "--steps", "8"]) == 2
    assert "trained on other images" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_a_run_is_never_overwritten(tmp_path, photos, finished, capsys, state):
    out = finished
    if state == "unfinished":
        out = tmp_path / "r"
        out.mkdir()
        (out / "settings.yaml").write_text((finished / "settings.yaml").read_text())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run(out, photos) == 2
    message = capsys.readouterr().err
    assert state in message
    assert "--resume" in message
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path, photos, capsys, monkeypatch):
    real = Trainer.train_step

    def poisoned(self, batch):
        losses = real(self, batch)
        if self.step == 5:
            losses = type(losses)(
                losses.extractor * float("nan"),
                losses.adversarial,
                losses.reconstruction,
                losses.clamped_mse,
                losses.lens,
            )
        return losses

    monkeypatch.setattr(Trainer, "train_step", poisoned)
    assert run(tmp_path / "r", photos) == 2
    message = capsys.readouterr().err
    assert "step 5 is not finite (extractor nan, adversarial" in message
    assert "step-00000004" in message
    assert (tmp_path / "r" / "checkpoint" / "step-00000004").exists()
    assert not (tmp_path / "r" / "checkpoint" / "step-00000006").exists()


def test_the_features_of_the_summary_come_from_the_saved_extractor(finished, photos):
    """What is measured is what is written: F on raw images, not on a residual, with the saved statistics."""
    import timm

    from lens.images.training_set import training_images
    from lens.measuring import features
    from lens.players.build import build
    from lens.players.fabric import make_fabric
    from lens.settings.parsing import parse

    parsed = parse([*TINY, "--data", str(photos), "--shortcut", "arrow"], "lens.train")
    images = training_images(parsed.settings)
    players = build(parsed, images, make_fabric(parsed.settings.machine))
    players.extractor.backbone.load_state_dict(load_file(finished / "extractor.safetensors"))
    index = images.indices("test")[:5]
    readers = {"": features.of_extractor(players, players.extractor)}
    got = features.read(players, readers, images, index)[""]
    backbone = timm.create_model("all_conv", img_size=16).eval()
    backbone.load_state_dict(load_file(finished / "extractor.safetensors"))
    pixels = images.fetch(index)[:, :, 1:17, 1:17].float() / 255
    with torch.no_grad():
        expected = backbone(pixels * 2 - 1)
    assert np.allclose(got, expected.numpy(), atol=1e-5)


def test_the_directory_of_a_run_is_made_whole(tmp_path, photos, monkeypatch):
    """A run directory exists only with its settings in it."""
    from lens.record.run import Run

    monkeypatch.setattr(
        Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert run(tmp_path / "r", photos) == 2
    assert not (tmp_path / "r").exists()
    monkeypatch.undo()
    with Run.plan(tmp_path / "r") as made:
        made.create({"data": "a"}, "a command")
    assert (made.settings(), made.commands()) == ({"data": "a"}, ["a command"])


def test_figures_of_other_weights_are_removed_when_a_run_trains_on(tmp_path, photos, monkeypatch):
    assert run(tmp_path / "r", photos) == 0

    def dead(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train_step", dead)
    (tmp_path / "r" / "removal_mine.json").write_text("somebody's")
    stale = [
        tmp_path / "r" / name
        for name in ("removal.json", "removal_1.json", "figures/removal.png", "figures/removal.npz")
    ]
    for file in stale:
        file.write_text("of the weights before")
    assert train.main(["--resume", str(tmp_path / "r"), "--steps", "8"]) == 130
    assert not any(file.exists() for file in (*stale, tmp_path / "r" / "summary.json"))
    assert (tmp_path / "r" / "removal_mine.json").exists()


def test_validation_during_training_looks_at_a_random_subset():
    from lens.images.data import sample_of

    index = np.arange(1000)
    chosen = sample_of(index, 100, 0, "val")
    assert len(chosen) == 100
    assert 350 < chosen.mean() < 650
    assert (chosen == sample_of(index, 100, 0, "val")).all()
    assert (sample_of(index, None, 0, "val") == index).all()
