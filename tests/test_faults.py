"""Faults from outside: a killed parent, a closed terminal, a full disk, a folder that is moved, nobody who listens."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from run_directories import LENSED, one_line, same_weights, tree
from small_grids import GRID, call, read_csv, write_grid
from tiny import ROOT, SUMMARY, TINY

from lens import ablate, probe, train
from lens.base import files, ranks, stopping
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.record import mirror, run
from lens.record.lock import holder
from lens.record.run import Run
from lens.training import checkpoint
from lens.training.trainer import Trainer

# Stands for lens.train: holds its run, works until it is asked to stop, takes its time to save, and ends at once on resume.
STUB = """
import json, os, pathlib, sys, time
from lens.base.stopping import stop_signals
from lens.base.entry_point import guard
from lens.record.run import Run
words = dict(word[2:].split("=", 1) for word in sys.argv[1:])
SUMMARY = {SUMMARY}
def body():
    place = pathlib.Path(words.get("resume") or words["out"])
    if "resume" in words:
        with Run.open(place) as run:
            run.write_json("summary.json", SUMMARY)
        return 0
    with Run.plan(place) as run, stop_signals() as stops:
        run.create(words, "a command")
        (place / "waits").touch()
        for _ in range(600):
            time.sleep(0.1)
            if stops:
                time.sleep(float(os.environ.get("SAVING", 1.5)))
                (place / "saved").write_text(str(stops))
                return 128 + stops[0]
    return 0
sys.exit(guard(body))
""".replace("{SUMMARY}", repr(SUMMARY))


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A grid of two runs of the stub."""
    (tmp_path / "stub.py").write_text(STUB)
    monkeypatch.setattr(ablate, "TRAIN", [sys.executable, str(tmp_path / "stub.py")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    axes = {"adversary": GRID["axes"]["adversary"]}
    return write_grid(tmp_path, axes=axes, seeds=[0], measures=["clean"])


def started(grid):
    """A process that runs the grid, when both of its runs are at work."""
    code = f"import sys; from lens import ablate; ablate.TRAIN = {ablate.TRAIN!r}; sys.exit(ablate.main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, str(grid), "--out", str(grid.parent / "out"), "--jobs", "2"]
    process = subprocess.Popen(
        argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    until(lambda: len(list((grid.parent / "out" / "runs").glob("*/waits"))) == 2)
    return process


# --- a parent that is gone, a terminal that is closed ----------------------------------------------------------------


def test_the_runs_of_a_killed_grid_save_and_the_next_call_waits_for_them_and_finishes(grid, capsys, monkeypatch):
    monkeypatch.setenv("SAVING", "5")  # longer than the next call takes to come, also on a busy machine
    out = grid.parent / "out"
    process = started(grid)
    process.kill()
    process.wait()
    process.stderr.close()
    assert all(holder(place) for place in (out / "runs").iterdir())
    assert call(grid, "--jobs", "2") == 0
    error = capsys.readouterr().err
    assert error.count("waiting for 2 run(s)") == 1
    assert "failed" not in error
    assert [file.read_text() for file in out.glob("runs/*/saved")] == [f"[{signal.SIGTERM:d}]"] * 2
    assert [row["status"] for row in read_csv(out)] == ["finished"] * 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_grid_that_is_asked_to_stop_and_then_killed_lets_its_runs_save(grid, number):
    process = started(grid)
    process.send_signal(number)
    time.sleep(0.5)
    process.kill()
    process.wait()
    process.stderr.close()
    runs = list((grid.parent / "out" / "runs").iterdir())
    until(lambda: not any(map(holder, runs)), 20)
    assert [(place / "saved").read_text() for place in runs] == [f"[{signal.SIGTERM:d}]"] * 2


def test_a_closed_terminal_stops_a_grid_as_sigterm_does(grid):
    process = started(grid)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)  # a terminal that closes may send several
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGHUP, error
    assert "stopped by a signal; 0 of 2 runs are finished" in error
    assert len(list(grid.parent.glob("out/runs/*/saved"))) == 2


def test_a_run_that_another_holds_for_long_fails_as_before(grid, monkeypatch, capsys):
    monkeypatch.setattr(ablate, "PATIENCE", 0.3)
    place = grid.parent / "out" / "runs" / "no_lens-seed0"
    with Run.plan(place) as one:
        one.create({"seed": "0"}, "a command")
        assert call(grid, "--table") == 2  # there is no grid yet
        (grid.parent / "out" / "grid.yaml").write_text(ablate.read(grid).content())
        other = grid.parent / "out" / "runs" / "lens-seed0"
        with Run.plan(other) as two:
            two.create({"seed": "0"}, "a command")
        assert call(grid) == 1
    error = capsys.readouterr().err
    assert "waiting for 1 run(s)" in error
    assert f"failed: no lens, seed 0: lens: error: {place} is in use by process {os.getpid()}" in error


def small(photos, out, *more):
    return train.main([*TINY, *LENSED, "--data", str(photos), "--out", str(out), *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, photos):
    """One small finished run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert small(photos, out) == 0
    return out


def signalling(monkeypatch, *numbers):
    """Send signals to this process after its third step."""
    real = Trainer.train_step

    def step(self, batch):
        result = real(self, batch)
        if self.step == 3:
            for number in numbers:
                os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(Trainer, "train_step", step)


def test_a_closed_terminal_saves_a_training_as_sigterm_does(tmp_path, photos, whole, monkeypatch, capsys):
    signalling(monkeypatch, signal.SIGHUP, signal.SIGHUP)
    assert small(photos, tmp_path / "r") == 128 + signal.SIGHUP
    assert "step 3 is saved" in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", str(tmp_path / "r")]) == 0
    same_weights(whole, tmp_path / "r")


def test_under_nohup_a_closed_terminal_is_ignored(tmp_path, photos, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signalling(monkeypatch, signal.SIGHUP)
        assert small(photos, tmp_path / "r") == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_in_the_middle_of_a_deletion_is_not_lost(capsys, number):
    class Interrupted:
        def __del__(self):
            os.kill(os.getpid(), number)
            for _ in range(1000):
                pass

    def body():
        Interrupted()
        for _ in range(400):  # on a busy machine the thread that raises it again comes late
            time.sleep(0.05)
        return 0

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # of a process that was begun in the background it is none
    try:
        assert guard(body) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "lens: interrupted\n"


def test_a_variable_that_is_left_over_is_no_lifeline(monkeypatch):
    for word in ("999", "x", "-1", ""):
        monkeypatch.setenv(stopping.LIFELINE, word)
        assert guard(lambda: 0) == 0
        assert stopping.LIFELINE not in os.environ


# --- a full disk -----------------------------------------------------------------------------------------------------


class Full:
    """Stands for a disk that is full from the n-th flush of a file on."""

    def __init__(self, monkeypatch, count, where=files.os):
        self.calls, self.count, self.real = 0, count, os.fsync
        monkeypatch.setattr(where, "fsync", self)

    def __call__(self, descriptor):
        self.calls += 1
        if self.calls >= self.count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.real(descriptor)


@pytest.mark.parametrize("count", range(1, 7))
def test_a_full_disk_keeps_all_the_old_tables_of_a_grid(grid, monkeypatch, capsys, count):
    out = grid.parent / "out"
    (out / "runs").mkdir(parents=True)
    (out / "grid.yaml").write_text(ablate.read(grid).content())
    assert call(grid, "--table") == 0
    place = out / "runs" / "lens-seed0"
    place.mkdir()
    (place / "summary.json").write_text(json.dumps(SUMMARY))
    before = tree(out)
    capsys.readouterr()
    full = Full(monkeypatch, count)
    code = call(grid, "--table")
    monkeypatch.undo()
    if full.calls < count:  # all is written by then
        assert code == 0
        assert count > 4
        return
    assert code == 2
    assert f"no space is left on the disk of {out}; the runs and the tables that are there are whole" in one_line(
        capsys
    )
    assert tree(out) == before


def test_a_full_disk_in_the_middle_of_a_grid_stops_the_runs_and_they_save(grid, monkeypatch, capsys):
    out = grid.parent / "out"
    (grid.parent / "stub.py").write_text(STUB.replace("def body():", "def body():\n    if words.get('lens') == 'none': sys.exit('lens: error: x')"))  # fmt: skip
    real = ablate.write_atomically

    def full(file, content):
        if file.name == "failed.json":
            until(lambda: list(out.glob("runs/*/waits")))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, content)

    monkeypatch.setattr(ablate, "write_atomically", full)
    assert call(grid, "--jobs", "2") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"lens: error: no space is left on the disk of {out}")
    assert len(list(out.glob("runs/*/saved"))) == 1
    assert not any(map(holder, (out / "runs").iterdir()))


def test_a_full_disk_while_a_run_is_probed_is_one_line_and_the_summary_stays(
    tmp_path, photos, whole, monkeypatch, capsys
):
    before = {name: data for name, data in tree(whole).items() if name.name != "lock"}
    Full(monkeypatch, 1)
    assert probe.main([str(whole)]) == 2
    assert f"no space is left on the disk of {whole}" in one_line(capsys)
    assert {name: data for name, data in tree(whole).items() if name.name != "lock"} == before


def test_a_log_on_a_full_disk_is_said_to_be_empty(tmp_path):
    (tmp_path / "log").write_text("")
    assert ablate.work.__module__ == "lens.grids.processes"
    from lens.grids.processes import last_error

    assert last_error(tmp_path / "log", 0, 2) == "exit code 2, and nothing in its log"


# --- nobody listens --------------------------------------------------------------------------------------------------


class Refuses(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(("name", "number"), [("stdout", errno.ENOSPC), ("stdout", errno.EPIPE), ("stderr", errno.EPIPE), ("stderr", errno.EIO)])  # fmt: skip
def test_a_training_that_nobody_listens_to_finishes(tmp_path, photos, whole, monkeypatch, capsys, name, number):
    monkeypatch.setattr(sys, name, Refuses(number))
    assert small(photos, tmp_path / "r") == 0
    same_weights(whole, tmp_path / "r")
    assert (tmp_path / "r" / "summary.json").exists()
    assert (tmp_path / "r" / "figures" / "curves.png").exists()
    if name == "stdout":
        error = capsys.readouterr().err
        assert f"the table could not be shown (stdout: {os.strerror(number)}): its figures are in {tmp_path / 'r'}/summary.json" in error  # fmt: skip
        assert "disk" not in error


def test_a_grid_whose_table_nobody_sees_is_finished(grid, monkeypatch, capsys):
    out = grid.parent / "out"
    (out / "runs").mkdir(parents=True)
    (out / "grid.yaml").write_text(ablate.read(grid).content())
    monkeypatch.setattr(sys, "stdout", Refuses(errno.EPIPE))
    assert call(grid, "--table") == 0
    assert f"its figures are in {out}/summary.md" in capsys.readouterr().err


# --- a folder that is moved ------------------------------------------------------------------------------------------

GONE = "was moved or deleted while it was in use"


@pytest.mark.parametrize("call_of", [("train_step", 1), ("train_step", 3), ("train_step", 5), ("evaluate", 1), ("save", 1), ("trained", 1)])  # fmt: skip
@pytest.mark.parametrize("replaced", [False, True])
def test_a_training_whose_folder_is_moved_writes_nothing_and_goes_on_from_the_new_place(
    tmp_path, photos, whole, monkeypatch, capsys, call_of, replaced
):
    name, count = call_of
    out, new = tmp_path / "run", tmp_path / "new"
    owner = checkpoint if name == "save" else Trainer
    real, calls = getattr(owner, name), []

    def moving(*arguments):
        calls.append(name)
        if len(calls) == count:
            out.rename(new)
            if replaced:
                out.mkdir()
        return real(*arguments)

    monkeypatch.setattr(owner, name, moving)
    assert small(photos, out) == 2
    assert f"{out} {GONE}" in one_line(capsys)
    assert list(out.iterdir()) == [] if replaced else not out.exists()
    monkeypatch.undo()
    assert train.main(["--resume", str(new)]) == 0
    same_weights(whole, new)


def test_a_probe_whose_run_is_moved_writes_nothing(tmp_path, whole, monkeypatch, capsys):
    from lens.measuring import evaluate

    real = evaluate.everything
    new = tmp_path / "new"
    before = {file.relative_to(whole): data for file, data in tree(whole).items() if file.name != "lock"}

    def moving(*arguments):
        whole.rename(new)
        return real(*arguments)

    monkeypatch.setattr(evaluate, "everything", moving)
    try:
        assert probe.main([str(whole)]) == 2
        assert f"{whole} {GONE}" in one_line(capsys)
        assert not whole.exists()
        assert {file.relative_to(new): data for file, data in tree(new).items() if file.name != "lock"} == before
    finally:
        new.rename(whole)


def test_a_folder_that_is_locked_meanwhile_is_one_line(tmp_path, photos, monkeypatch, capsys):
    real = run.append_line

    def refused(file, line):
        if file.name == "metrics.jsonl":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))
        real(file, line)

    monkeypatch.setattr(run, "append_line", refused)
    assert small(photos, tmp_path / "r") == 2
    assert "metrics.jsonl cannot be used (Read-only file system)" in one_line(capsys)


# --- Weights & Biases ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_wandb(monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was started"))


PLAIN = {"wandb": "offline", "wandb_project": "p", "wandb_group": None, "wandb_tags": []}


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_stands_in_wandbs_place_is_one_line(tmp_path, no_wandb, kind):
    place = tmp_path / "wandb"
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        place.write_text("x")
    else:
        place.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    with pytest.raises(BadInput, match="is a link or no folder"):
        mirror.Mirror(tmp_path, PLAIN)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"id": 3}', b'{"id": {"a": 1}}', b'{"id": "../../x"}', b'{"id": ""}', b"\xff", b"[" * 100_000, b'{"id": "' + b"x" * 65 + b'"}', b" " * 2**21, None],
)  # fmt: skip
def test_a_hostile_id_is_one_line(tmp_path, no_wandb, content):
    file = tmp_path / "wandb.json"
    file.write_bytes(content) if content is not None else os.mkfifo(file)
    with pytest.raises(BadInput, match=r"wandb\.json .*delete it to log to a new W&B run"):
        mirror.Mirror(tmp_path, PLAIN)


# --- the environment -------------------------------------------------------------------------------------------------

TORCHRUN = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (name, word)
        for name in TORCHRUN
        for word in ("abc", "", "-1", "9" * 30, "1e3", "٣", None)
        if word or name != "LOCAL_RANK"
    ]
    + [("LOCAL_RANK", "")]
    + [("RANK", "2"), ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "3"), ("WORLD_SIZE", "0")],
)
def test_an_environment_of_garbage_is_one_line(monkeypatch, capsys, name, word):
    for key, value in (TORCHRUN | {name: word}).items():
        monkeypatch.setenv(key, value) if value is not None else monkeypatch.delenv(key, raising=False)
    if (name, word) == ("LOCAL_WORLD_SIZE", None):
        assert ranks.launched() == 1  # no torchrun
        return
    assert train.main(["--data", "x"]) == 2
    assert f"the environment's {name} is {word or ''!r}" in one_line(capsys)
