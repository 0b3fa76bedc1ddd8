"""The mirror: what W&B's own files hold is the record; without a login, a network or W&B itself nothing is lost."""

import json
import os
import struct
import subprocess
import sys
import time

import forks
import pytest
from tiny import TINY

from lens import train
from lens.base.errors import BadInput
from lens.record import mirror
from lens.record.mirror import Mirror
from lens.record.run import Run
from lens.settings.parsing import parse
from lens.training.trainer import Trainer

QUICK = ["--test_images", "8", "--probe_images", "20", "--wandb_group", "arms", "--wandb_tags", "a", "b"]


def records(file):
    """The records of a .wandb file: LevelDB's log format, blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts, found = file.read_bytes(), 7, b"", []
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:  # padding at the end of a block
            at += left
            continue
        if len(data) - at < 7:  # it is still being written
            break
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if at + 7 + length > len(data):
            break
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(parts))
            parts = b""
    return found


def items(updates):
    return {entry.key or "/".join(entry.nested_key): json.loads(entry.value_json) for entry in updates}


def mirrored(file):
    """What one .wandb file holds: its run, the lines of its history, its config and summary."""
    deadline = time.monotonic() + 60
    found = records(file)
    while not any(record.HasField("exit") for record in found) and time.monotonic() < deadline:
        time.sleep(0.1)  # W&B's own process writes the file, and may be behind
        found = records(file)
    runs = [record.run for record in found if record.HasField("run")]
    history = [items(record.history.item) for record in found if record.HasField("history")]
    config, summary = {}, {}
    for run in runs:
        config |= items(run.config.update)
    for record in found:
        if record.HasField("config"):
            config |= items(record.config.update)
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    return runs[-1], history, config, summary


def files(out):
    return sorted((out / "wandb").glob("offline-run-*/*.wandb"))


def as_logged(lines):
    """The lines of metrics.jsonl as W&B shows them: one entry a step."""
    steps = {}
    for line in lines:
        named = {f"{line['kind']}/{name}": value for name, value in line.items() if name not in ("kind", "step")}
        steps.setdefault(line["step"], {}).update(named)
    return steps


def test_an_offline_run_holds_the_record_and_a_resumed_one_goes_on_in_it(tmp_path, photos, monkeypatch, capfd):
    out = tmp_path / "r"
    real = Trainer.train_step

    def dies(self, batch):
        if self.step == 5:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Trainer, "train_step", dies)
    argv = [*TINY, *QUICK, "--data", str(photos), "--out", str(out), "--wandb", "offline"]
    assert train.main(argv) == 130
    monkeypatch.undo()
    first = as_logged(Run.open(out).metrics())
    assert train.main(["--resume", str(out), "--wandb_tags", "c"]) == 0
    assert "wandb" not in capfd.readouterr().err
    one, two = files(out)
    (run, history, _, _), (again, later, config, summary) = mirrored(one), mirrored(two)
    assert run.run_id == again.run_id == json.loads((out / "wandb.json").read_text())["id"]
    assert (run.project, run.run_group, list(run.tags), run.display_name) == ("lens", "arms", ["a", "b"], "r")
    assert list(again.tags) == ["c"]
    logged = {entry["_step"]: {k: v for k, v in entry.items() if k[0] != "_"} for entry in history}
    assert logged == first
    after = {entry["_step"]: {k: v for k, v in entry.items() if k[0] != "_"} for entry in later}
    pictures = {name: after[6].pop(name) for name in list(after[6]) if name.startswith("figures/")}
    record = as_logged(Run.open(out).metrics())
    assert after == {step: values for step, values in record.items() if step > 4}  # from the checkpoint on, once
    assert {step: after.get(step) or logged[step] for step in record} == record
    assert config | Run.open(out).settings() == config
    expected = json.loads((out / "summary.json").read_text())
    assert summary["pretext"] == expected["pretext"]
    assert summary["downstream"] == expected["downstream"]
    assert summary["command"] == expected["command"]
    paths = {name.removesuffix("/path"): path for name, path in pictures.items() if name.endswith("/path")}
    assert {"figures/edits", "figures/edit_map", "figures/curves"} <= set(paths)
    assert {f"{name}.png" for name in paths} == {f"figures/{file.name}" for file in (out / "figures").glob("*.png")}
    for name, path in paths.items():
        assert (two.parent / "files" / path).read_bytes() == (out / f"{name}.png").read_bytes()


def test_a_mirror_that_starts_later_has_the_earlier_lines(tmp_path, photos):
    out = tmp_path / "r"
    assert train.main([*TINY, *QUICK[:4], "--data", str(photos), "--out", str(out)]) == 0
    assert not (out / "wandb").exists()
    assert not (out / "wandb.json").exists()
    assert train.main(["--resume", str(out), "--wandb", "offline", "--steps", "8"]) == 0
    history = mirrored(files(out)[0])[1]
    assert [entry["_step"] for entry in history] == sorted(as_logged(Run.open(out).metrics()))


def test_only_pictures_that_a_run_has_drawn_are_mirrored(tmp_path, photos, monkeypatch):
    out = tmp_path / "r"
    argv = [*TINY, *QUICK[:4], "--data", str(photos), "--out", str(out)]
    assert train.main(argv) == 0
    (tmp_path / "private.png").write_bytes((out / "figures" / "curves.png").read_bytes())
    for name in ("mine", "edit_map"):
        (out / "figures" / f"{name}.png").unlink(missing_ok=True)
        (out / "figures" / f"{name}.png").symlink_to(tmp_path / "private.png")
    (out / "figures" / "edits.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(out / "figures" / "removal.png")
    logged = []
    mirror = Mirror.__new__(Mirror)
    mirror.directory = out
    monkeypatch.setattr(mirror, "_act", lambda act: act(Recorder(logged)))
    mirror.results(Run.open(out).summary())
    assert list(logged[0]) == ["figures/curves"]


class Recorder:
    """Stands for W&B's run."""

    step = 0

    def __init__(self, logged):
        self.logged, self.summary = logged, {}

    def log(self, values, step):
        self.logged.append(values)


def test_a_failing_mirror_is_said_once_and_the_run_goes_on(tmp_path, photos, monkeypatch, capsys):
    import wandb

    calls = []

    def fails(self, *_, **__):
        calls.append(self)
        raise ConnectionResetError("the service\nis gone")

    monkeypatch.setattr(wandb.Run, "log", fails)
    out = tmp_path / "r"
    assert train.main([*TINY, *QUICK, "--data", str(photos), "--out", str(out), "--wandb", "offline"]) == 0
    error = capsys.readouterr().err
    assert error.count("Weights & Biases failed (ConnectionResetError: the service is gone)") == 1
    assert len(calls) == 1
    assert len(Run.open(out).metrics()) == 6
    assert (out / "summary.json").exists()
    calls[0].finish()


@pytest.mark.parametrize("error", ["ValueError", "UsageError", "OSError"])
def test_what_wandb_refuses_at_the_start_is_one_line(tmp_path, monkeypatch, error):
    import wandb

    def fails(**given):
        raise {"ValueError": ValueError, "UsageError": wandb.errors.UsageError, "OSError": OSError}[error]("no\ngood")

    monkeypatch.setattr(wandb, "init", fails)
    plain = parse([*TINY, "--wandb", "offline"], "lens.train").settings.flat()
    with pytest.raises(BadInput, match=r"does not start \(no good\): continue with --resume .* --wandb disabled"):
        Mirror(tmp_path, plain)


def test_a_run_is_called_what_wandb_takes_and_its_files_lie_in_its_directory(tmp_path, monkeypatch):
    import wandb

    given = {}
    monkeypatch.setattr(wandb, "init", lambda **words: given.update(words))
    monkeypatch.setenv("WANDB_DIR", "/proc/nowhere")
    directory = tmp_path / ("d" * 200)
    directory.mkdir()
    Mirror(directory, parse([*TINY, "--wandb", "offline"], "lens.train").settings.flat())
    assert given["name"] == "d" * 128
    assert given["dir"] == str(directory)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "there is no login; run wandb login or set WANDB_API_KEY"),
        ({"WANDB_API_KEY": "short"}, "API key must have 40+ characters"),
        ({"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "check the login and the network"),
    ],
    ids=["no login", "no key", "no network"],
)
def test_online_without_a_login_or_a_network_is_one_line_before_anything(
    tmp_path, photos, environment, message, monkeypatch
):
    """In a process of its own: W&B keeps its login for the life of one."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name, value in (environment | {"HOME": str(tmp_path / "home"), "NETRC": str(tmp_path / "none")}).items():
        monkeypatch.setenv(name, value)
    words = [*TINY, "--data", str(photos), "--out", str(tmp_path / "r"), "--wandb", "online"]
    process = forks.start(train.main, *words, log=tmp_path / "log")
    process.join(90)
    assert process.exitcode == 2
    said = (tmp_path / "log").read_text()
    assert said.startswith("lens: error: --wandb online: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_starting_does_not_wait_for_wandb():
    code = "import sys, lens.train, lens.probe, lens.record.run, lens.record.mirror; assert 'wandb' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_runs_of_a_group_are_read_where_there_is_a_login(monkeypatch, capsys):
    import wandb

    class Run:
        name, state, summary = "first", "finished", {"pretext": {"raw": 0.5}}

    class Api:
        def runs(self, project, filters):
            assert (project, filters) == ("lens", {"group": "arms"})
            return [Run]

    def refuse(mode):
        raise BadInput("there is no login")

    monkeypatch.setattr(mirror.Mirror, "check", refuse)
    assert mirror.group_rows("lens", "arms") == []
    assert "there is no login" in capsys.readouterr().err
    monkeypatch.setattr(mirror.Mirror, "check", lambda mode: None)
    monkeypatch.setattr(wandb, "Api", Api)
    assert mirror.group_rows("lens", "arms") == [{"run": "first", "state": "finished", "raw": 0.5}]
