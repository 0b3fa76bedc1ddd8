"""A run's directory in hard cases: in use, on a full disk, of another version, damaged."""

import contextlib
import errno
import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import yaml
from run_directories import LENSED, one_line, same_weights, tree
from safetensors.torch import load_file
from tiny import SUMMARY, TINY

from lens import __version__, compare, probe, train
from lens.base.errors import BadInput
from lens.base.files import append_line
from lens.figures import run as figures
from lens.grids import table as grid_table
from lens.record.run import Run
from lens.results.figure import Estimate
from lens.settings import agreement
from lens.settings.run_settings import FIELDS
from lens.training import checkpoint
from lens.training.trainer import Trainer


@pytest.fixture(scope="module")
def whole(tmp_path_factory, photos):
    """One small finished run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main([*TINY, *LENSED, "--data", str(photos), "--out", str(out)]) == 0
    return out


# --- of an older version ---------------------------------------------------------------------------------------------

OLD = {"mse": 0.01, "mse_ci": [0.009, 0.011], "psnr": 20.0, "psnr_ci": [19.6, 20.5], "ssim": 0.8, "ssim_ci": [0.7, 0.9]}


def test_a_summary_of_an_older_version_is_read_in_todays_names(tmp_path):
    """There `psnr` was over the views that carry the cue, and `all_psnr` over all of them."""
    (tmp_path / "settings.yaml").write_text("{}")

    def read(shortcut, **more):
        content = SUMMARY | {"shortcut": shortcut, "reconstruction": more and OLD | more}
        (tmp_path / "summary.json").write_text(json.dumps(content))
        found = Run(tmp_path).summary().reconstruction
        assert not found.more
        return found

    some = read("arrow", all_psnr=23.0)
    assert (some.psnr, some.mse.value) == (Estimate(23.0), pytest.approx(10**-2.3))
    assert some.mse.interval is None
    assert some.psnr_planted == Estimate(20.0, [19.6, 20.5])
    assert (some.mse_planted, some.ssim.value) == (Estimate(0.01, [0.009, 0.011]), 0.8)
    row = grid_table.measured(Run(tmp_path).summary())
    assert (row["psnr"], row["psnr_low"], row["psnr_planted"], row["psnr_planted_high"]) == (23.0, None, 20.0, 20.5)
    every = read("arrow", all_psnr=20.0)
    assert every.to_json() == OLD | {f"{n}_planted{ci}": OLD[f"{n}{ci}"] for n in ("mse", "psnr") for ci in ("", "_ci")}
    assert read("none", all_psnr=20.0).to_json() == OLD
    unseen = read("arrow", all_psnr=None)  # nothing changed but where the cue is: never told by those versions
    assert (unseen.psnr.value, unseen.mse.value, unseen.psnr_planted.value) == (None, 0.0, 20.0)
    assert read("arrow", psnr_planted=18.0).psnr.value == 20.0  # of today: as it is
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY | {"reconstruction": OLD | {"all_psnr": "x"}}))
    with pytest.raises(BadInput, match=r"all_psnr"):
        Run(tmp_path).summary()


# --- in use ----------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from lens.results.figure import Estimate
from lens.record.run import Run
with Run.open(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def another_process(directory):
    """A second process that holds a run's directory."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_what_a_file_of_ours_is_replaced_by_leaves_the_old_one_under_a_free_name(tmp_path):
    run = Run(tmp_path)
    assert run.aside("removal.json", "new") == {}
    (tmp_path / "removal.json").write_text("old")
    assert run.aside("removal.json", "old") == {}
    assert run.aside("removal.json", "new") == {"removal_1.json": b"old"}
    (tmp_path / "removal_1.json").symlink_to(tmp_path / "nothing")
    assert run.aside("removal.json", "new") == {"removal_2.json": b"old"}
    (tmp_path / "private").write_text("a stranger's link must not copy it")
    (tmp_path / "removal.json").unlink()
    (tmp_path / "removal.json").symlink_to(tmp_path / "private")
    assert run.aside("removal.json", "new") == {}
    (tmp_path / "removal.json").unlink()
    (tmp_path / "removal.json").mkdir()
    assert run.aside("removal.json", "new") == {}  # refused where it is written


def test_a_damaged_line_of_the_record_is_told_by_its_number(tmp_path):
    line = '{"kind": "train", "step": 1}\n'
    (tmp_path / "metrics.jsonl").write_text(line + '{"kind": "train", "st\n' + line)
    with pytest.raises(BadInput, match="delete line 2, and others"):
        Run(tmp_path).metrics()


def test_a_directory_in_use_is_refused_and_names_its_owner(whole, capsys):
    before = tree(whole)
    with another_process(whole) as owner:
        for verb, argv in ((train, ["--resume", str(whole)]), (probe, [str(whole)])):
            assert verb.main(argv) == 2
            assert f"{whole} is in use by process {owner.pid} on {os.uname().nodename} since" in one_line(capsys)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert {file.name for file, data in tree(whole).items() if before.get(file) != data} == {"lock"}
        with Run.open(whole):  # a kill leaves nothing stale
            pass


def test_a_new_run_is_held_from_its_first_moment(tmp_path):
    with Run.plan(tmp_path / "r") as run:
        run.create({"a": 1}, "a command")
        with pytest.raises(ValueError, match=f"in use by process {os.getpid()} "), Run.open(tmp_path / "r"):
            pass
    with Run.open(tmp_path / "r"):
        pass


def test_a_forked_reader_does_not_hold_the_lock(whole):
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def read():
        ready.set()
        signal.pause()

    with Run.open(whole):
        reader = context.Process(target=read, daemon=True)
        reader.start()
        assert ready.wait(60)
    with Run.open(whole):
        pass
    assert reader.is_alive()
    reader.kill()
    reader.join()


def test_a_disk_without_locks_is_used_with_a_word(whole, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Run.open(whole):
        assert "a disk without locks" in capsys.readouterr().err


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "none", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not permitted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place, left=0):
    """Leave that many bytes on a disk; returns the file that fills it."""
    status = os.statvfs(place)
    ballast = place / "ballast"
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - left))
    return ballast


def weights_and_record(folder):
    """Every file of a run that is read again: all must be whole. Returns the steps of checkpoints and of the record."""
    for file in folder.rglob("*.safetensors"):
        load_file(file)
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    record = folder / "metrics.jsonl"
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    assert all(line.endswith("\n") for line in lines)
    assert not [file for file in folder.rglob(".*")]
    return [place.name for place in sorted((folder / "checkpoint").glob("*"))], [json.loads(x)["step"] for x in lines]


# After which call the disk is full, how often it was called by then, the bytes left; what must be there still.
MOMENTS = [
    (Trainer, "train_step", 2, 0, []),
    (Trainer, "train_step", 3, 0, ["step-00000002"]),
    (Trainer, "train_step", 3, 500_000, ["step-00000002"]),
    (Trainer, "train_step", 5, 500_000, ["step-00000002", "step-00000004"]),
    (checkpoint, "save", 3, 0, ["step-00000004", "step-00000006"]),
    (figures, "edits", 1, 0, ["step-00000004", "step-00000006"]),
]


@pytest.mark.parametrize(("owner", "name", "call", "left", "kept"), MOMENTS)
def test_a_full_disk_gets_one_line_loses_nothing_and_the_run_goes_on(
    small_disk, photos, whole, monkeypatch, capsys, owner, name, call, left, kept
):
    out = small_disk / "run"
    real, calls, before = getattr(owner, name), [], {}

    def filling(*arguments):
        result = real(*arguments)
        calls.append(name)
        if len(calls) == call:
            before.update({file: data for file, data in tree(out).items() if file.name != "metrics.jsonl"})
            fill(small_disk, left)
        return result

    monkeypatch.setattr(owner, name, filling)
    assert train.main([*TINY, *LENSED, "--data", str(photos), "--out", str(out)]) == 2
    message = one_line(capsys)
    assert f"no space is left on the disk of {out}" in message
    assert (kept[-1] if kept else "no checkpoint yet") in message
    checkpoints, steps = weights_and_record(out)
    assert checkpoints == kept
    assert {file: file.read_bytes() for file in before} == before
    if not left:
        assert train.main(["--resume", str(out)]) == 2  # still full
        assert "No space left" in (text := one_line(capsys)) or "no space is left" in text
        assert weights_and_record(out)[0] == kept
    monkeypatch.undo()
    (small_disk / "ballast").unlink()
    assert train.main(["--resume", str(out)]) == 0
    same_weights(whole, out)
    expected, got = ([(x["kind"], x["step"], x["raw"] if x["kind"] == "val" else x["extractor"]) for x in Run.open(folder).metrics()] for folder in (whole, out))  # fmt: skip
    assert expected == got
    assert set(steps) <= {step for _, step, _ in got}


def test_a_line_is_appended_whole_or_not_at_all(small_disk):
    file = small_disk / "lines"
    fill(small_disk, 10_000)
    written = 0
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012
        while True:
            append_line(file, "x" * 999)
            written += 1
    assert file.read_text() == ("x" * 999 + "\n") * written
    assert written >= 4


def test_a_run_is_not_begun_on_a_full_disk(small_disk, photos, capsys):
    fill(small_disk)
    assert train.main([*TINY, *LENSED, "--data", str(photos), "--out", str(small_disk / "run")]) == 2
    assert "No space left on device" in one_line(capsys)
    assert [file.name for file in small_disk.iterdir()] == ["ballast"]


# --- another version -------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path, whole):
    return Path(shutil.copytree(whole, tmp_path / "copy", ignore=shutil.ignore_patterns("lock")))


GONE = object()


def change(file, **changes):
    """Change keys of a YAML or JSON file; GONE removes one."""
    content = yaml.safe_load(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not GONE}))


@pytest.mark.parametrize(
    ("version", "changes", "message"),
    [
        ("0.0.9", {"colour": 3}, "which does not know the setting 'colour': use lens 0.0.9"),
        ("0.0.9", {"shortcut.strength": GONE}, "whose setting 'shortcut.strength' it lacks"),
        ("0.0.9", {"shortcut.tint": 2}, "setting 'shortcut.tint'"),
        ("0.0.9", {"lens_lr": GONE}, "whose setting 'lens_lr' it lacks"),
        ("9.0.0", {"colour": 3}, "which does not know the setting 'colour'"),
        ("9.0.0", {"task": "unheard_of"}, "unknown task 'unheard_of'"),
        ("9.0.0", {}, "which is older and may read its settings otherwise"),
    ],
)
@pytest.mark.parametrize("verb", [train, probe])
def test_a_run_of_another_version_is_refused_where_its_settings_are_not_ours(
    copied, capsys, verb, version, changes, message
):
    change(copied / "settings.yaml", **changes)
    change(copied / "origin.json", lens=version)
    assert verb.main(["--resume", str(copied)] if verb is train else [str(copied)]) == 2
    error = one_line(capsys)
    assert f"was written by lens {version} and this is lens {__version__}" in error
    assert message in error


@pytest.mark.parametrize("verb", [train, probe, compare])
def test_settings_without_sources_are_told_as_damaged(copied, whole, tmp_path, capsys, verb):
    change(copied / "settings.yaml", data=GONE)
    words = {train: ["--resume"], probe: [], compare: [str(whole), "--out", str(tmp_path / "c")]}
    assert verb.main([*words[verb], str(copied)]) == 2
    assert "settings.yaml is damaged: it lacks the setting 'data'" in one_line(capsys)


@pytest.mark.parametrize("verb", [train, probe])
def test_a_run_that_has_lost_its_version_is_not_taken_for_one_of_the_first(copied, capsys, verb):
    (copied / "origin.json").unlink()
    assert verb.main(["--resume", str(copied)] if verb is train else [str(copied)]) == 2
    assert f"{copied} has lost its origin.json: lens 0.1.0, which wrote none, did not know the setting" in one_line(
        capsys
    )


def test_settings_that_were_cut_short_are_told_as_damaged(copied, capsys):
    change(copied / "settings.yaml", lens_lr=GONE)
    assert train.main(["--resume", str(copied)]) == 2
    assert "settings.yaml is damaged: it lacks the setting 'lens_lr'" in one_line(capsys)


def test_a_run_of_0_1_0_goes_on_and_is_then_of_this_version(copied, whole):
    (copied / "origin.json").unlink()
    objective = Run.open(copied).settings()["objective"]
    theirs = {"adversary": objective, "lens_encoder": "full", "lens_depth": 3, "lens.depth": GONE}
    change(copied / "settings.yaml", **dict.fromkeys(agreement.unknown_to("0.1.0"), GONE) | theirs)
    assert train.main(["--resume", str(copied)]) == 0
    assert Run.open(copied).origin()["lens"] == __version__
    fields = (field for field in FIELDS.values() if "before" in field.metadata)
    before = {field.name: field.metadata["before"] for field in fields}
    assert before == {
        "lens_grey": "free",
        "steering": "integral",
        "probe_test_images": None,
    }  # what versions without these settings did
    assert Run.open(copied).settings() == Run.open(whole).settings() | before


def test_a_run_outlives_the_weights_that_it_began_with(whole, tmp_path, photos, monkeypatch):
    """Its own weights follow: those files may be gone, and nothing is downloaded a second time."""
    start = shutil.copytree(whole, tmp_path / "start")
    words = ["--extractor_weights", f"{start}/extractor.safetensors", "--lens_weights", f"{start}/lens.safetensors"]
    out = tmp_path / "r"
    assert train.main([*TINY, *LENSED, "--data", str(photos), "--out", str(out), *words]) == 0
    before = json.loads((out / "summary.json").read_text())
    shutil.rmtree(start)
    assert probe.main([str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["pretext"] == before["pretext"]
    change(out / "settings.yaml", extractor_weights=None, pretrained=True)
    made = timm.create_model

    def offline(*args, pretrained=False, **more):
        assert not pretrained, "it would download"
        return made(*args, pretrained=pretrained, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    assert probe.main([str(out)]) == 0
    assert train.main(["--resume", str(out), "--steps", "8"]) == 0


def test_a_changed_plugin_file_is_noticed(tmp_path, photos, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = Path("my_task.py")
    task.write_text((Path(train.__file__).parent / "tasks" / "rotation.py").read_text())
    named = ["--task", "./my_task.py"]
    assert train.main([*TINY, "--steps", "2", *named, "--data", str(photos), "--out", "r"]) == 0
    assert train.main(["--resume", "r", *named, "--steps", "3"]) == 0
    text = task.read_text()
    task.write_text(text + "\n# another one\n")
    for verb, argv in ((train, ["--resume", "r"]), (probe, ["r"])):
        capsys.readouterr()
        assert verb.main([*argv, *named]) == 2
        assert "./my_task.py has changed since r was started with it" in one_line(capsys)
    task.write_text(text)
    assert probe.main(["r", *named]) == 0


# --- damaged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("settings.yaml", "start a new run with another --out|whose setting"),
        ("origin.json", "bring it back from a copy"),
        ("summary.json", "delete it, then measure again with --resume"),
        ("checkpoint/step-00000006/players.safetensors", "to continue from step-00000004"),
        ("checkpoint/step-00000006/state.json", "to continue from step-00000004"),
        ("splits.jsonl.gz", "delete it if the images are still the same"),
        ("metrics.jsonl", "delete the lines that are damaged"),
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_a_damaged_file_gets_one_line(copied, capsys, name, advice, damage):
    file = copied / name
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"\x00\xff{[\n" + data[8:])
    if (name, damage) == ("metrics.jsonl", "truncated"):  # a torn last line is cut, as after a kill
        assert train.main(["--resume", str(copied)]) == 0
        return
    assert train.main(["--resume", str(copied)]) == 2
    error = one_line(capsys)
    assert any(part in error for part in advice.split("|")), error
