"""Several processes are one run: the same updates, every image measured once, one writer, clean ends."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import forks
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import ROOT, TINY
from torch import nn
from two_ranks import TORCHRUN, torchrun

from lens import probe, train
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.players.unreached import freeze_unreached

DOUBLE = [
    *TINY,
    "--precision",
    "64",
    "--steps",
    "3",
    "--checkpoint_every",
    "1",
    "--log_every",
    "1",
    "--target_psnr",
    "20",
]


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Begins a training of two ranks: its process, which has the ranks' numbers and what was printed."""
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    (tmp_path / "pids").mkdir()

    def start(*argv):
        process = forks.start(torchrun, *argv, log=tmp_path / "log")
        process.pids, process.log = tmp_path / "pids", tmp_path / "log"
        return process

    return start


def told(process, seconds=300):
    """What a training has printed, once it has ended, and its exit code."""
    process.join(seconds)
    assert process.exitcode is not None, process.log.read_text()
    error = process.log.read_text()
    process.log.write_text("")
    return process.exitcode, error


@pytest.fixture
def launch(started):
    """A training of two ranks from its beginning to its end: exit code and what was printed."""
    return lambda *argv: told(started(*argv))


def players(run, step):
    return load_file(run / "checkpoint" / f"step-{step:08d}" / "players.safetensors")


def furthest(a, b):
    """The largest difference of any tensor, over the largest value in it (or 1e-6, for running means around zero)."""
    assert a.keys() == b.keys()
    return max(
        float((a[k].double() - b[k].double()).abs().max() / a[k].double().abs().max().clamp(min=1e-6)) for k in a
    )


def afresh(*argv):
    """The same by torchrun's command, whose ranks are processes that import everything themselves."""
    command = [sys.executable, "-m", "torch.distributed.run", *TORCHRUN, *argv]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300)  # fmt: skip
    return done.returncode, done.stderr


REAL = ["--shortcut", "arrow"]


@pytest.mark.parametrize("mode", [REAL, ["--batch_norm", "joint", "--objective", "full"], ["--feed", "lensed", "--optimizer", "sgd"], ["--task", "exemplar", "--task.embedding", "8"], ["--lens_noise", "0.03", "--feed", "lensed"]])  # fmt: skip
def test_two_ranks_make_the_same_updates_as_one_process_and_measure_the_same(mode, photos, tmp_path, launch):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.main([*DOUBLE, *mode, "--data", f"{photos}", "--out", f"{one}"]) == 0
    code, error = (afresh if mode == REAL else launch)(*DOUBLE, *mode, "--data", f"{photos}", "--out", f"{two}")
    assert code == 0, error
    assert furthest(players(one, 2), players(two, 2)) < 1e-9
    assert furthest(players(one, 3), players(two, 3)) < 1e-9
    first, second = (json.loads((run / "summary.json").read_text()) for run in (one, two))
    assert second["ranks"] == 2
    assert first["pretext"]["images"] == second["pretext"]["images"] == 12
    sections = [[s["pretext"], s["reconstruction"], s["pretext"].get("lensed_statistics", {})] for s in (first, second)]
    for ours, theirs in zip(*sections, strict=True):
        for key in ours.keys() - {"lensed_statistics"}:
            assert theirs[key] == pytest.approx(ours[key], abs=1e-6), key
    probes = [next(iter(summary["downstream"].values())) for summary in (first, second)]
    assert probes[0]["linear"] == probes[1]["linear"]
    assert probes[0]["n_test"] == probes[1]["n_test"]
    # Rank 0 alone writes: each step once.
    steps = [json.loads(line)["step"] for line in (two / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (one / "metrics.jsonl").read_text().splitlines()]
    losses = [[json.loads(line)["extractor"] for line in (run / "metrics.jsonl").read_text().splitlines() if '"train"' in line] for run in (one, two)]  # fmt: skip
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # logged as float32


def test_statistics_of_each_rank_alone_are_another_run(photos, tmp_path, launch):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train.main([*DOUBLE, "--data", f"{photos}", "--out", f"{one}"]) == 0
    code, error = launch(*DOUBLE, "--sync_batchnorm", "local", "--data", f"{photos}", "--out", f"{two}")
    assert code == 0, error
    assert furthest(players(one, 3), players(two, 3)) > 1e-3
    summary = json.loads((two / "summary.json").read_text())
    assert summary["sync_batchnorm"] == "local"
    # Both ranks measured with rank 0's running statistics, which are the ones that are kept: a probe finds the same.
    assert probe.main([f"{two}"]) == 0
    again = json.loads((two / "summary.json").read_text())
    assert [again["pretext"][key] for key in ("raw", "lensed", "clean")] == [
        summary["pretext"][key] for key in ("raw", "lensed", "clean")
    ]
    assert again["reconstruction"]["mse"] == pytest.approx(summary["reconstruction"]["mse"], rel=1e-9)


def wait_for(path, process):
    end = time.monotonic() + 120
    while not path.exists():
        assert process.exitcode is None, process.log.read_text()
        assert time.monotonic() < end
        time.sleep(0.05)


def ranks_of(process):
    """The processes of a training's ranks, in order."""
    return [int((process.pids / str(rank)).read_text()) for rank in range(2)]


LONG = [*TINY, "--steps", "12", "--checkpoint_every", "4", "--val_every", "6"]


def test_a_run_whose_ranks_are_all_killed_resumes_to_the_same_weights(photos, tmp_path, launch, started):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, error = launch(*LONG, "--data", f"{photos}", "--out", f"{whole}")
    assert code == 0, error
    process = started(*LONG, "--data", f"{photos}", "--out", f"{parts}")
    wait_for(parts / "checkpoint" / "step-00000004", process)
    workers = ranks_of(process)
    for pid in (process.pid, *workers):
        os.kill(pid, signal.SIGKILL)
    process.join()
    assert len(set(workers)) == 2
    assert not (parts / "summary.json").exists()
    code, error = launch("--resume", f"{parts}")
    assert code == 0, error
    for name in ("extractor", "head", "lens"):
        a, b = (load_file(run / f"{name}.safetensors") for run in (whole, parts))
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_dead_rank_ends_the_others_with_a_message(rank, photos, tmp_path, started, monkeypatch):
    """Also where the rank that is left is so slow to speak that torchrun asks it to end before."""
    if rank == 1:
        monkeypatch.setenv("SLOW_TO_SPEAK", "2")
    argv = [*TINY, "--steps", "100000", "--checkpoint_every", "2", "--val_every", "100000", "--data", f"{photos}"]
    process = started(*argv, "--out", f"{tmp_path / 'run'}")
    wait_for(tmp_path / "run" / "checkpoint" / "step-00000002", process)
    os.kill(ranks_of(process)[rank], signal.SIGKILL)
    code, error = told(process, 100)
    assert code != 0
    assert f"lens: error: rank {1 - rank}: another rank has died" in error
    assert "--resume" in error


def test_a_stop_is_agreed_on_and_saved(photos, tmp_path, started):
    argv = [*TINY, "--steps", "100000", "--checkpoint_every", "100000", "--val_every", "100000", "--data", f"{photos}"]
    process = started(*argv, "--out", f"{tmp_path / 'run'}")
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    os.kill(ranks_of(process)[1], signal.SIGTERM)  # to one rank only
    _, error = told(process, 100)
    saved = list((tmp_path / "run" / "checkpoint").glob("step-*"))
    assert len(saved) == 1, error
    assert "stopped by a signal" in error


@pytest.fixture
def slow_to_speak(monkeypatch):
    """The first rank waits four seconds before each error, as on a machine that is busy."""
    monkeypatch.setenv("SLOW_TO_SPEAK", "4")


def test_a_mistake_is_one_line_of_the_first_rank(photos, tmp_path, launch, slow_to_speak):
    argv = [*TINY, "--batch_size", "5", "--data", f"{photos}", "--out", f"{tmp_path / 'run'}"]
    code, error = launch(*argv)
    assert code != 0
    assert error.count("lens: error:") == 1
    assert "lens: error: rank" not in error
    assert "does not divide into 2 processes" in error
    assert not (tmp_path / "run").exists()


def test_a_mistake_of_another_rank_alone_is_told_by_that_rank(monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("lens.base.ranks.GRACE", 0.0)

    def body():
        raise BadInput("no such folder here")

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert guard(body) == 2
    assert capsys.readouterr().err == "lens: error: rank 1: no such folder here\n"
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_what_only_the_first_rank_meets_ends_all_in_one_line(photos, tmp_path, launch, slow_to_speak):
    run = tmp_path / "run"
    assert train.main([*DOUBLE, "--data", f"{photos}", "--out", f"{run}"]) == 0
    record = gzip.decompress((run / "splits.jsonl.gz").read_bytes())
    (run / "splits.jsonl.gz").write_bytes(gzip.compress(record.replace(b"000.png", b"other.png")))
    code, error = launch("--resume", f"{run}", "--steps", "5")
    assert code != 0
    assert "was trained on other images" in error
    assert error.count("lens: error:") == 1
    code, error = launch(*TINY, "--data", f"{photos}")
    assert "lens: error: torchrun needs --out" in error
    assert error.count("lens: error:") == 1


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 23])
def test_every_image_is_in_exactly_one_ranks_share(world, count):
    index = np.arange(count) * 3
    shares = []
    for rank in range(world):
        ranks = object.__new__(Ranks)
        ranks.rank, ranks.world = rank, world
        shares.append(ranks.share(index))
    assert np.concatenate(shares).tolist() == index.tolist()
    if world == 1:
        rows = torch.ones(2, requires_grad=True)
        assert ranks.gather(rows) is rows  # alone there is nobody to ask
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    # Whole batches: every number of ranks cuts the same ones.
    parts = []
    for rank in range(world):
        ranks.rank = rank
        mine = ranks.share(index, 4)
        parts += [mine[start : start + 4].tolist() for start in range(0, len(mine), 4)]
    assert parts == [index[start : start + 4].tolist() for start in range(0, count, 4)]


def test_the_converter_for_gpus_keeps_fused_activations():
    """On GPUs timm's converter is used; in evaluation its norms run on a CPU too."""
    from timm.layers.norm_act import BatchNormAct2d

    from lens.players.global_norm import synchronise

    module = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.BatchNorm2d(4)).eval()
    inputs = torch.randn(2, 3, 8, 8)
    before = module(inputs)
    converted = synchronise(module, torch.device("cuda"))
    assert {type(m).__name__ for m in converted.modules()} >= {"SyncBatchNormAct", "SyncBatchNorm"}
    assert torch.equal(converted(inputs), before)


def test_parameters_that_nothing_depends_on_need_no_gradient():
    module = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    freeze_unreached(module, module["used"](torch.zeros(1, 2)))
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {"used.weight", "used.bias"}
    assert all(p.grad is None for p in module.parameters())
