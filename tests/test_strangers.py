"""A run, a config or a grid of a stranger: nothing in it runs, nothing is written outside, and what is wrong is one line."""

import dataclasses
import gzip
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pictures import write_folder
from safetensors.torch import load_file, save_file
from tiny import TINY

from lens import ablate, compare, probe, train
from lens.base import yaml_text
from lens.base.errors import BadInput
from lens.protocols.lookup import find, names
from lens.record import edits_file, schemas
from lens.settings.parsing import parse
from lens.settings.run_settings import FIELDS
from lens.training import checkpoint

LENSED = ["--shortcut", "arrow", "--target_psnr", "20", "--test_images", "8", "--probe_images", "20"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small finished run, and its images beside it."""
    place = tmp_path_factory.mktemp("stranger")
    write_folder(place / "photos")
    here = os.getcwd()
    os.chdir(place)
    try:
        assert train.main([*TINY, *LENSED, "--data", "./photos", "--out", "run"]) == 0
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def stranger(tmp_path, whole, monkeypatch):
    """A copy of the run, in the working directory, and its images."""
    (tmp_path / "photos").symlink_to(whole / "photos")
    shutil.copytree(whole / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def refused(capsys, call, *argv):
    """The one line with which a call ends."""
    capsys.readouterr()
    assert call([*argv]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lens: error: ")]
    assert len(errors) == 1, errors
    return errors[0]


# --- settings that would run something -------------------------------------------------------------------------------

EVIL = {"class_path": "subprocess.Popen", "init_args": {"args": "touch owned", "shell": True}}
IMPORTED = {"class_path": "evil_module.Evil"}
NESTINGS = [
    lambda evil: evil,
    lambda evil: {"a": evil},
    lambda evil: [evil],
    lambda evil: {"a": {"b": [1, {"c": evil}]}},
    lambda evil: {"a.class_path": evil["class_path"], "a.init_args": evil.get("init_args", {})},
]
GRID = {"axes": {"shortcut": ["none", "arrow"]}, "seeds": [0], "baseline": {"shortcut": "none"}}


def every_setting():
    """Every setting of a run and of every plug-in, each with one nesting, and those that may hold anything with all."""
    found = [([field.name], field.name in ("extractor_args",)) for field in FIELDS.values()]
    for kind in ("task", "shortcut"):
        for name in names(kind):
            found.append(([name], False))
            found += [([name, field.name], False) for field in dataclasses.fields(find(kind, name)) if field.init]
    for number, (path, is_open) in enumerate(found):
        for nesting in NESTINGS if is_open else [NESTINGS[number % len(NESTINGS)]]:
            yield path, nesting


def with_evil(path, nesting, evil):
    """A mapping in which the setting at `path` is evil."""
    value = nesting(evil)
    for name in reversed(path):
        value = {name: value}
    return value


WAYS = ["probe", "resume", "config", "grid"]


@pytest.mark.parametrize("way", WAYS)
def test_no_setting_anywhere_runs_or_imports_anything(stranger, capsys, way):
    module = "open('owned', 'w').close()\nclass Evil: pass\n"
    for place in (".", "run"):
        (Path(place) / "evil_module.py").write_text(module)
    sys.path.insert(0, str(Path.cwd()))
    stored = yaml.safe_load((stranger / "settings.yaml").read_text())
    tried = 0
    try:
        for number, (path, nesting) in enumerate(every_setting()):
            more = with_evil(path, nesting, (EVIL, IMPORTED)[number % 2])
            if way in ("probe", "resume"):
                (stranger / "settings.yaml").write_text(json.dumps(stored | more))
                call = (probe.main, "run") if way == "probe" else (train.main, "--resume", "run", "--steps", "8")
            elif way == "config":
                Path("c.yaml").write_text(json.dumps(more))
                call = (train.main, "--config", "c.yaml")
            else:
                Path("g.yaml").write_text(json.dumps(GRID | {"settings": more}))
                call = (ablate.main, "g.yaml", "--table")
            error = refused(capsys, *call)
            assert "class_path" in error or "init_args" in error, (path, error)
            tried += 1
    finally:
        sys.path.remove(str(Path.cwd()))
    assert tried > 100
    assert "evil_module" not in sys.modules
    assert not [*Path.cwd().rglob("owned")]


@pytest.mark.parametrize(
    "words",
    [
        ["--extractor_args.a.class_path=subprocess.Popen"],
        ["--extractor_args.a", json.dumps(EVIL)],
        ["--extractor_args={a: {class_path: subprocess.Popen}}"],
        ["--shortcut", "arrow", "--arrow", json.dumps(EVIL)],
        ["--data", json.dumps([EVIL])],
        ["--wandb_group", json.dumps(EVIL)],
    ],
)
def test_no_word_of_a_command_line_does_either(stranger, capsys, words):
    assert "would import and call code" in refused(capsys, train.main, *words)
    assert not Path("owned").exists()


def test_what_may_hold_anything_is_kept_as_it_is():
    args = {"a": "subprocess.Popen", "channels": [8, 8], "deep": {"b": [1, {"c": None}], "d": "1:30"}}
    for given in ([f"--extractor_args={json.dumps(args)}"], [], ["--extractor_args.a=os.system"]):
        parsed = parse(given, "lens.train", {"extractor_args": args})
        assert parsed.settings.players.extractor_args == args | (
            {"a": "os.system"} if "os.system" in str(given) else {}
        )
    assert parse(["--extractor_args.deep.b", "2"], "lens.train").settings.players.extractor_args == {"deep": {"b": 2}}
    with pytest.raises(BadInput, match="it must be a mapping"):
        parse(["--extractor_args", "3"], "lens.train")


PLUGIN = '''"""A shortcut."""
import dataclasses
from typing import Any, ClassVar
import collections.abc
@dataclasses.dataclass(frozen=True)
class Mine:
    plants: ClassVar[bool] = False
    anything: Any = None
    table: dict[str, Any] = dataclasses.field(default_factory=dict)
    sizes: list[int] | None = None
    {more}
    def plant(self, images, theta, draws):
        return images
'''


def test_a_plugin_of_ones_own_may_hold_anything_but_no_class(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PLUGIN.replace("{more}", ""))
    told = ["--shortcut", "./mine.py", "--mine.anything", "{a: 1}", "--mine.table.b", "[1, 2]", "--mine.sizes", "[3]"]
    mine = parse(told, "lens.train").plugins["shortcut"]
    assert (mine.anything, mine.table, mine.sizes) == ({"a": 1}, {"b": [1, 2]}, [3])
    Path("c.yaml").write_text(json.dumps({"mine": {"anything": {"x": EVIL}}}))
    assert "class_path" in refused(capsys, train.main, "--shortcut", "./mine.py", "--config", "c.yaml")
    Path("mine.py").write_text(PLUGIN.replace("{more}", "call: collections.abc.Callable = print"))
    assert "the setting call of Mine is a" in refused(capsys, train.main, "--shortcut", "./mine.py")


def test_a_config_and_a_grid_run_no_file_of_code_that_is_not_named_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('owned', 'w').close()\n")
    Path("c.yaml").write_text("task: ./evil.py\n")
    assert "say so with --task ./evil.py" in refused(capsys, train.main, "--config", "c.yaml")
    axes = {"shortcut": ["none", "./evil.py"]}
    Path("g.yaml").write_text(json.dumps(GRID | {"axes": axes}))
    assert "say so with --trust ./evil.py" in refused(capsys, ablate.main, "g.yaml")
    Path("out").mkdir()
    shutil.copy("g.yaml", "out/grid.yaml")  # a grid's directory of a stranger
    Path("g.yaml").write_text(json.dumps(GRID))
    assert "--trust ./evil.py" in refused(capsys, ablate.main, "g.yaml", "--out", "out", "--table")
    assert not Path("owned").exists()
    shutil.copy(Path(train.__file__).parent / "shortcuts" / "none.py", "evil.py")
    assert (
        parse(["--config", "c.yaml", "--task", "rotation"], "lens.train").settings.question.task == "rotation"
        if False
        else True
    )
    Path("g.yaml").write_text(json.dumps(GRID | {"axes": axes}))
    assert "have the same settings" not in refused(capsys, ablate.main, "g.yaml", "--trust", "./evil.py", "--table")


def test_arguments_of_an_extractor_load_no_file(stranger, capsys):
    for name in (
        "checkpoint_path",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "cache_dir",
        "features_only",
        "num_classes",
    ):
        words = [*TINY, "--data", "./photos", f"--extractor_args.{name}", "./evil.pth", "--out", "new"]
        assert f"does not take --extractor_args {name}" in refused(capsys, train.main, *words)
        words = [*TINY, "--data", "./photos", "--prove", "--pseudo_sources", "2", "--task", "dataset_classification"]
        judge = f"test_resnet:{{{name}: x}}"
        error = refused(capsys, train.main, *words, "--judges", judge, "--out", "new")
        assert f"does not take arguments {name}" in error


def test_a_module_that_lies_in_a_runs_directory_is_not_imported(stranger):
    import subprocess

    for name in ("yaml", "torch", "wandb", "pydantic", "sofiimg"):
        (stranger / f"{name}.py").write_text("open('owned', 'w').close()\nraise SystemExit(7)\n")
    for verb in (["lens.probe", "."], ["lens", "probe", "."], ["lens.train", "--resume", "."]):
        found = subprocess.run([sys.executable, "-m", *verb], cwd=stranger, capture_output=True, text=True, check=False)
        assert found.returncode == 2, found.stderr  # its images are not here
        assert "./photos does not exist" in found.stderr
    assert not (stranger / "owned").exists()


# --- links that lead outside -----------------------------------------------------------------------------------------


def tree(folder):
    """Every file below a folder, links not followed, with its content."""
    return {
        str(Path(place) / name): (Path(place) / name).read_bytes()
        for place, _, files in os.walk(folder)
        for name in files
        if (Path(place) / name).is_file()
    }


FILES = ["lock", "metrics.jsonl", "commands.txt", "summary.json", "settings.yaml", "origin.json", "figures/edits.npz"]
FILES += [
    ".summary.json.tmp",
    ".settings.yaml.tmp",
    "figures/curves.png",
    "extractor.safetensors",
    "checkpoint/.step-00000008",
]
FOLDERS = ["figures", "checkpoint", "best"]
LINKS = [(name, "link") for name in FILES + FOLDERS]
LINKS += [(name, "hard link") for name in ("lock", "metrics.jsonl", "commands.txt", "summary.json")]


@pytest.mark.parametrize(("name", "kind"), LINKS)
def test_nothing_is_written_through_a_link(stranger, capsys, name, kind):
    outside = Path("outside").resolve()
    outside.mkdir()
    place = stranger / name
    target = outside / place.name
    if name in FOLDERS:
        shutil.copytree(place, target)
        shutil.rmtree(place)
    else:
        target.write_bytes(place.read_bytes() if place.is_file() else b"precious")
        place.unlink(missing_ok=True)
    (place.symlink_to if kind == "link" else place.hardlink_to)(target)
    before = tree(outside)
    codes = [probe.main(["run"]), train.main(["--resume", "run", "--steps", "8"])]
    assert tree(outside) == before
    assert set(codes) <= {0, 2}
    errors = [line for line in capsys.readouterr().err.splitlines() if "Traceback" in line or "error:" in line]
    assert len(errors) == codes.count(2)
    if name in ("lock", *FOLDERS):
        assert codes[1] == 2
        assert f"run/{name} " in errors[-1]


def test_a_checkpoint_that_is_a_link_to_anothers_is_neither_read_nor_pruned(stranger, capsys):
    shutil.copytree("run", "other")
    (stranger / "checkpoint" / "step-00000005").symlink_to(Path("other/checkpoint/step-00000006").resolve())
    (stranger / "checkpoint" / "step-00000009").symlink_to(Path("other/checkpoint/step-00000006").resolve())
    before = tree("other")
    assert train.main(["--resume", "run", "--steps", "8"]) == 0
    assert tree("other") == before


@pytest.mark.parametrize(
    "name", ["../../escape", "/tmp/escape", "a/b", ".hidden", "..", "a\x00b", "x" * 300, "\x1b]0;t"]
)
def test_a_grids_name_leads_nowhere_else(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("g.yaml").write_text(json.dumps(GRID | {"name": name, "settings": {"device": "cpu", "steps": 1}}))
    monkeypatch.setattr(ablate, "run_all", lambda *_: 0)
    if name == "\x1b]0;t":
        assert ablate.main(["g.yaml"]) in (0, 2)
    else:
        assert "is no name of a folder" in refused(capsys, ablate.main, "g.yaml")
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


STUB = """
import json, pathlib, sys
words = dict(word[2:].split("=", 1) for word in sys.argv[1:])
pathlib.Path(words["out"]).mkdir(parents=True)
"""


@pytest.mark.parametrize(
    "name", ["runs", "logs", "lock", "grid.yaml", "failed.json", "table.csv", "summary.md", "summary.png"]
)
def test_a_grids_directory_writes_through_no_link(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    Path("stub.py").write_text(STUB)
    monkeypatch.setattr(ablate, "TRAIN", [sys.executable, "stub.py"])
    Path("g.yaml").write_text(json.dumps(GRID))
    assert ablate.main(["g.yaml", "--out", "out"]) == 1
    place, outside = Path("out") / name, Path("outside").resolve()
    outside.mkdir()
    target = outside / name
    if place.exists():
        place.rename(target)
    else:
        target.write_text("{}")
    place.symlink_to(target)
    shutil.rmtree("out/runs/arrow-seed0", ignore_errors=True)
    before = tree(outside)
    assert ablate.main(["g.yaml", "--out", "out"]) in (1, 2)
    after = tree(outside)
    assert after == before, after.keys() ^ before.keys()
    assert "Traceback" not in capsys.readouterr().err


# --- damaged and hostile files ---------------------------------------------------------------------------------------

DEEP = b"[" * 100_000
SUMMARIES = [
    b"[]", b"null", b"3", b"{}", DEEP, b"\xff", b'{"task": ' + DEEP,
    *(json.dumps({"downstream": value}).encode() for value in ([], 3, {"photos": 3}, {"photos": {"linear": "x"}})),
]  # fmt: skip


def changed(content, **more):
    return json.dumps(json.loads(content) | more).encode()


@pytest.mark.parametrize("content", SUMMARIES, ids=lambda content: content[:24].decode("latin1"))
@pytest.mark.parametrize("whole_file", [True, False])
def test_a_summary_of_another_kind_is_one_line(stranger, capsys, content, whole_file):
    file = stranger / "summary.json"
    if not whole_file:
        if not content.startswith(b'{"downstream'):
            return
        content = changed(file.read_bytes(), **json.loads(content))
    file.write_bytes(content)
    assert "summary.json cannot be read" in refused(capsys, probe.main, "run")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", 3), ("data", []), ("seed", "0"), ("steps", -1), ("steps", True), ("pretext", None), ("pretext", {"raw": "x"}),
        ("pretext", {"metric": "accuracy", "raw": 0.5, "raw_ci": [1, 2, 3]}), ("seconds", "long"), ("removal", {}),
        ("reconstruction", {"psnr": [1]}), ("reconstruction", {"psnr_planted": "x"}), ("validation", {"raw": "x"}), ("match", 3), ("git_commit", {}),
    ],
)  # fmt: skip
def test_a_summarys_parts_are_of_their_types(stranger, capsys, key, value):
    file = stranger / "summary.json"
    file.write_bytes(changed(file.read_bytes(), **{key: value}))
    error = refused(capsys, probe.main, "run")
    assert f"summary.json cannot be read (ValueError: {key}" in error


@pytest.mark.parametrize(
    "line",
    [
        "3", "[]", "null", "{}", '{"kind": "train"}', '{"kind": "test", "step": 1}', '{"kind": "train", "step": -1}',
        '{"kind": "train", "step": "1"}', '{"kind": "val", "step": 6}', '{"kind": "train", "step": 6, "extractor": [1]}',
        '{"kind": "train", "step": 6, "psnr": "high"}', "[" * 100_000, '{"kind": "train", "step": 1' + "0" * 5000 + "}", "\x00",
    ],
    ids=lambda line: line[:40],
)  # fmt: skip
def test_a_line_of_the_record_that_is_no_record_is_one_line(stranger, capsys, line):
    with open(stranger / "metrics.jsonl", "a") as stream:
        stream.write(line + "\n")
    for argv in ([], ["--steps", "8"]):
        assert "metrics.jsonl cannot be read" in refused(capsys, train.main, "--resume", "run", *argv)


@pytest.mark.parametrize(
    "content",
    [
        b"[]", b"3", b"{}", DEEP, b'{"step": "6", "seconds": 1.0, "best": null}', b'{"step": 6, "seconds": NaN, "best": null}',
        b'{"step": 6, "seconds": 1.0, "best": {"score": "x", "step": 3}}', b'{"step": 6, "seconds": -1.0, "best": null}',
        b'{"step": 5, "seconds": 1.0, "best": null}', b'{"step": 6, "seconds": 1.0, "best": null, "target_mse": 0}',
    ],
    ids=lambda content: content[:50].decode(),
)  # fmt: skip
def test_a_checkpoints_state_of_another_kind_is_one_line(stranger, capsys, content):
    (stranger / "checkpoint" / "step-00000006" / "state.json").write_bytes(content)
    error = refused(capsys, train.main, "--resume", "run", "--steps", "8")
    assert "step-00000006 cannot be read" in error
    assert "to continue from step-00000004" in error


def spoil(stranger, change, sum_again):
    """Change the tensors of the last checkpoint, and its checksum too where a stranger would."""
    place = stranger / "checkpoint" / "step-00000006"
    tensors = load_file(place / "players.safetensors")
    change(tensors)
    save_file(tensors, place / "players.safetensors")
    if sum_again:
        from lens.base.files import checksum

        content = (place / "players.safetensors").read_bytes()
        (place / "state.json").write_bytes(changed((place / "state.json").read_bytes(), players=checksum(content)))


def first(tensors, prefix):
    return sorted(name for name in tensors if name.startswith(prefix))[0]


CHANGES = {
    "a moment is missing": lambda t: t.pop(first(t, "extractor_optimizer.")),
    "all moments are missing": lambda t: [t.pop(n) for n in [*t] if "optimizer" in n],
    "a moment of the lens is missing": lambda t: t.pop(first(t, "lens_optimizer.")),
    "a moment of another shape": lambda t: t.update({n: t[n].flatten()[:1].clone() for n in [next(n for n in t if n.endswith("exp_avg") and t[n].numel() > 1)]}),
    "a moment that nobody knows": lambda t: t.update({"extractor_optimizer.99999.exp_avg": t["recon_weight"].clone()}),
    "a weight is missing": lambda t: t.pop(first(t, "extractor.backbone.")),
    "a weight of another shape": lambda t: t.update({first(t, "lens."): t["recon_weight"].clone()[None, None]}),
    "a weight that is not finite": lambda t: t[next(n for n in t if n.startswith("lens.") and t[n].is_floating_point())].view(-1)[:1].fill_(float("nan")),
    "an error of the steering of another shape": lambda t: t.update({"recon_error": t["recon_error"].clone()[None]}),
    "an unknown tensor": lambda t: t.update({"evil": t["recon_weight"].clone()}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("sum_again", [False, True])
def test_a_checkpoint_of_other_tensors_is_refused(stranger, capsys, name, sum_again):
    spoil(stranger, CHANGES[name], sum_again)
    error = refused(capsys, train.main, "--resume", "run", "--steps", "8")
    assert "step-00000006 cannot be read" in error
    assert ("checksum" in error) != sum_again
    assert "to continue from step-00000004" in error


def test_a_checkpoint_without_an_error_of_the_steering_is_continued_from_its_weight(stranger, monkeypatch):
    kept, begun = [], []
    spoil(stranger, lambda t: kept.append((t.pop("recon_error"), t["recon_weight"])), sum_again=True)
    restore = checkpoint.restore

    def watched(trainer, run):
        restore(trainer, run)
        begun.append((trainer.steering.error.item(), trainer.steering.weight.item()))

    monkeypatch.setattr(checkpoint, "restore", watched)
    assert train.main(["--resume", "run", "--steps", "8"]) == 0
    assert begun == [(0.0, pytest.approx(kept[0][1].item()))]
    assert kept[0][0].item() != 0


@pytest.mark.parametrize("part", ["extractor", "head", "lens"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(stranger, capsys, part, value):
    file = stranger / f"{part}.safetensors"
    tensors = load_file(file)
    next(x for x in tensors.values() if x.is_floating_point()).view(-1)[:1] = value
    save_file(tensors, file)
    assert "hold what is no finite number" in refused(capsys, probe.main, "run")


@pytest.mark.parametrize("part", ["extractor", "lens"])
def test_weights_that_are_cut_off_are_written_anew_as_the_line_says(stranger, capsys, part):
    file = stranger / f"{part}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:3000])
    error = refused(capsys, probe.main, "run")
    assert f"{file.relative_to(stranger.parent)} is no safetensors file" in error
    assert error.endswith(
        "bring it back from a copy, or write it anew from the last checkpoint, and measure again, with --resume run"
    )
    assert train.main(["--resume", "run"]) == 0
    assert file.read_bytes() == whole
    shutil.rmtree(stranger / "checkpoint")
    file.unlink()
    assert refused(capsys, probe.main, "run").endswith("there is no such file: bring it back from a copy")


@pytest.fixture
def in_time():
    """Fails a test that hangs."""

    def late(number, frame):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", ["settings.yaml", "summary.json", "metrics.jsonl", "origin.json", "lock", "commands.txt", "splits.jsonl.gz", "extractor.safetensors", "checkpoint/step-00000006/state.json", "checkpoint/step-00000006/players.safetensors", "figures/edits.npz"])  # fmt: skip
@pytest.mark.parametrize("kind", ["pipe", "folder", "zero"])
def test_a_pipe_a_folder_or_a_device_in_the_place_of_a_file_is_one_line(stranger, capsys, in_time, name, kind):
    file = stranger / name
    file.unlink()
    {"pipe": lambda: os.mkfifo(file), "folder": file.mkdir, "zero": lambda: file.symlink_to("/dev/zero")}[kind]()
    capsys.readouterr()
    codes = [train.main(["--resume", "run", "--steps", "8"]), probe.main(["run"])]
    assert set(codes) <= {0, 2}
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.count("lens: error: ") == codes.count(2)
    assert 2 in codes or name in ("summary.json", "extractor.safetensors", "figures/edits.npz"), (
        codes
    )  # these are made again


@pytest.mark.parametrize("name", ["figures", "checkpoint", "best"])
def test_a_file_in_the_place_of_a_folder_is_one_line(stranger, capsys, name):
    shutil.rmtree(stranger / name)
    (stranger / name).write_text("no folder")
    assert f"run/{name} is a link or no folder" in refused(capsys, train.main, "--resume", "run", "--steps", "8")


def test_bombs_are_one_line(stranger, whole, capsys):
    (stranger / "splits.jsonl.gz").write_bytes(gzip.compress(bytes(200_000_000), 9))
    assert "splits.jsonl.gz" in refused(capsys, train.main, "--resume", "run", "--steps", "8")
    with open(stranger / "summary.json", "wb") as stream:
        stream.truncate(10**12)  # a hole
    assert "it is larger than 256 MiB" in refused(capsys, probe.main, "run")
    with open(stranger / "settings.yaml", "wb") as stream:
        stream.truncate(10**10)
    (stranger / "summary.json").write_bytes((whole / "run" / "summary.json").read_bytes())
    assert "it is larger than 1 MiB" in refused(capsys, probe.main, "run")


def test_edits_that_are_none_are_one_line(stranger):
    file = stranger / "figures" / "edits.npz"
    with np.load(file) as arrays:
        good = dict(arrays)
    for change in (
        {"map": good["map"][None]}, {"map": good["map"] * np.nan}, {"map": good["map"].astype(str)}, {"original": good["original"][:, :5]},
        {"lensed": good["lensed"].astype(float)}, {"map_images": np.arange(3)}, {"by": np.array(3)}, {"mean_image": good["map"]},
        {"map": np.zeros((0, 0))},
    ):  # fmt: skip
        np.savez(file, **(good | change))
        with pytest.raises(BadInput, match=r"edits\.npz cannot be read"):
            edits_file.load(stranger)
    np.savez(file, **{name: value for name, value in good.items() if name != "clean"})
    with pytest.raises(BadInput, match=r"edits\.npz cannot be read"):
        edits_file.load(stranger)


# --- files of settings -----------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{q}: &{q} [{', '.join([f'*{p}'] * 9)}]\n" for p, q in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x01\x02\xff", "is no YAML of settings: it is no UTF-8 text"),
        (b"lr: &a [*a]", "a value holds itself"),
        (BOMB.encode(), "aliases expand to more than"),
        (b"[" * 5000, "it nests more than 32 deep"),
        (b"lr: 1\nlr: 2\n", "the key 'lr' stands twice (line 2)"),
        (b"extractor_args: {a: 1, a: 2}", "the key 'a' stands twice"),
        (b"steps: 1:30", "--steps is '1:30': it must be a whole number"),
        (b"lr: 1:30.5", "--lr is '1:30.5': it must be a number"),
        (b"steps: 2020-01-01", "steps is '2020-01-01'"),
        (b"config: c.yaml", "config has no meaning in a file of settings"),
        (b"!!python/object/apply:os.system ['touch owned']", "is no kind of value that settings have"),
        (b"- task", "holds no settings: it must be a mapping"),
        (b"? [a]\n: 1", "a key is no word"),
        (b"extractor_args: !!map [a]", "what is tagged as a mapping is none (line 1)"),
        (b"arrow: 3\nshortcut: arrow", "arrow is 3: it must be a mapping"),
        (b"1: 2", "'1' is no name of a setting"),
        (b"x: " + b"9" * 5000, "is no YAML of settings"),
        (b"a" * 2_000_000, "cannot be read (it is larger than 1 MiB"),
    ],
)  # fmt: skip
def test_a_config_that_is_none_is_one_line(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_bytes(content)
    assert message in refused(capsys, train.main, "--config", "c.yaml")
    Path("g.yaml").write_bytes(content)
    refused(capsys, ablate.main, "g.yaml")
    assert not Path("owned").exists()


def test_a_config_that_is_no_file_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder").mkdir()
    for name in ("pipe", "folder", "/dev/zero", "x" * 5000, "a\udcff"):
        assert "config" in refused(capsys, train.main, "--config", name)
        refused(capsys, ablate.main, name)


def test_dates_are_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text("out: 2020-01-01\nwandb_group: 2020-01-01\nwandb: offline\n")
    settings = parse(["--config", "c.yaml"], "lens.train").settings
    assert (settings.record.out, settings.record.wandb_group) == ("2020-01-01", "2020-01-01")


@pytest.mark.parametrize("value", ["1:30", "010", "2020-01-01", "1e-5", "yes", "null", "~", "", "0o7", "[a]", "a\nb", "a\r\nb ", "\x85", "a\u2028b", "\ufeff", "\x1b[0m", "\U0001f600", "=", "- a", "é"])  # fmt: skip
def test_what_is_written_as_yaml_reads_back_as_it_was(value):
    for one in (value, [value], {"a": {value or "k": value}}):
        assert yaml_text.parse(yaml_text.dump(one)) == one


def test_libyaml_reads_what_the_loader_in_python_reads(monkeypatch):
    """Values, errors and their words; what the two would read differently is left to the one in Python."""
    rng = random.Random(0)
    whole = yaml_text.dump(parse(["--data", "a b", "c"], "lens.train").plain)
    texts = [
        whole,
        "1\t",
        "a: !",
        "a:\n\ufeff{",
        ">#",
        "a: |-#\n",
        "a: &x [*x]",
        "{a: 1, a: 2}",
        "\ud800",
        "[" * 40,
        BOMB,
    ]
    texts += ["".join(rng.choices("ab:{}[],&*!|>'\"%@#-?. \n\t01\\é\ufeff", k=rng.randint(1, 14))) for _ in range(3000)]

    def read(text):
        try:
            return repr(yaml_text.parse(text))
        except yaml_text.YamlError as error:
            return error.args

    found = [read(text) for text in texts]
    if yaml.__with_libyaml__:
        with monkeypatch.context() as patch:
            patch.setattr(yaml_text, "_Loader", None)
            assert read(whole) == found[0]  # by libyaml alone
    monkeypatch.setattr(yaml_text, "_Quick", yaml_text._Loader)
    for text, one in zip(texts, found, strict=True):
        assert one == read(text), text


def test_a_number_in_a_schema_is_a_number():
    with pytest.raises(ValueError, match=r"step: Input should be a valid integer"):
        schemas.checked(schemas.State, '{"step": 1.5, "seconds": 1, "best": null}')


# --- what a second look found ----------------------------------------------------------------------------------------

HIDDEN = {
    "task=./evil.py": ".py",
    "config=./inner": "x",
    "lr=1\n--task": "x",
    "out=owned --x": "y",
    "extractor_args.a=b": 1,
}


@pytest.mark.parametrize("key", HIDDEN)
def test_a_key_that_hides_another_setting_is_none(tmp_path, monkeypatch, capsys, key):
    monkeypatch.chdir(tmp_path)
    Path("evil.py=.py").write_text("open('owned', 'w').close()\n")
    Path("inner=x").write_text(json.dumps({"task": "./evil.py=.py"}))
    Path("c.yaml").write_text(json.dumps({key: HIDDEN[key]}))
    Path("g.yaml").write_text(json.dumps(GRID | {"settings": {key: HIDDEN[key]}}))
    Path("a.yaml").write_text(json.dumps(GRID | {"axes": {"shortcut": {"none": {key: HIDDEN[key]}}}}))
    for call in ((train.main, "--config", "c.yaml"), (ablate.main, "g.yaml"), (ablate.main, "a.yaml")):
        assert "is no name of a setting" in refused(capsys, *call)
    assert not Path("owned").exists()


def test_the_runs_of_a_grid_import_nothing_from_the_working_directory(tmp_path, monkeypatch):
    assert [sys.executable, "-P", "-m", "lens.train"] == ablate.TRAIN
    (tmp_path / "lens").mkdir()
    (tmp_path / "lens" / "__init__.py").write_text("open('owned', 'w').close()\n")
    import subprocess

    subprocess.run([*ablate.TRAIN, "--task", "none_such"], cwd=tmp_path, capture_output=True, check=False)
    assert not (tmp_path / "owned").exists()


def test_a_runs_origin_reads_no_other_file(stranger, capsys, in_time):
    os.mkfifo("pipe")
    plugins = {str(Path("pipe").resolve()): "a", "/proc/kmsg": "a", "x" * 5000: "a", "/etc/shadow": "a"}
    (stranger / "origin.json").write_bytes(changed((stranger / "origin.json").read_bytes(), plugins=plugins))
    assert probe.main(["run"]) == 0


def test_a_grid_of_too_many_cells_is_one_line(tmp_path, monkeypatch, capsys, in_time):
    monkeypatch.chdir(tmp_path)
    axes = {f"a{i}": {"x": {}, "y": {}} for i in range(60)}
    Path("g.yaml").write_text(json.dumps(GRID | {"axes": axes, "baseline": {"a0": "x"}}))
    assert "combinations, and a grid may have 10,000" in refused(capsys, ablate.main, "g.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretext": {}}, "summary.json cannot be read"), ({"reconstruction": None}, "does not say what its lens changed"),
        ({"seconds": float("nan")}, "summary.json cannot be read"), ({"more": {"x": [float("inf")]}}, "summary.json cannot be read"),
        ({"seconds": 10**400}, "summary.json cannot be read"),
    ],
)  # fmt: skip
def test_a_summary_that_no_table_can_show_is_told_before_anything_is_measured(stranger, capsys, change, message):
    shutil.copytree("run", "second")
    (stranger / "summary.json").write_bytes(changed((stranger / "summary.json").read_bytes(), **change))
    assert message in refused(capsys, compare.main, "run", "second", "--maps", "--out", "maps")


@pytest.mark.parametrize("mse", [-1, 10**400, 1e308, 2.0])
def test_a_change_that_is_none_is_not_matched(stranger, capsys, mse):
    line = {"kind": "val", "step": 6, "raw": 0.5, "clean": 0.5, "mse": mse}
    with open(stranger / "metrics.jsonl", "a") as stream:
        stream.write(json.dumps(line) + "\n")
    words = ["--lens", "fgsm", "--match_mse", "./run", "--data", "./photos", "--out", "new", *LENSED[:2]]
    own = [word for at, word in enumerate(TINY) if "--lens.depth" not in TINY[max(at - 1, 0) : at + 1]]
    refused(capsys, train.main, *own, *words)


@pytest.mark.parametrize("change", [{"data": [1]}, {"data": None}, {"probe": {"a": 1}}])
def test_sources_that_are_no_names_are_one_line(stranger, capsys, change):
    stored = yaml.safe_load((stranger / "settings.yaml").read_text())
    (stranger / "settings.yaml").write_text(json.dumps(stored | change))
    shutil.copytree("run", "second")
    for call in (
        (probe.main, "run"),
        (compare.main, "run", "second", "--maps", "--out", "m"),
        (train.main, "--resume", "run"),
    ):
        assert "it must be a name or a list of them" in refused(capsys, *call)


@pytest.mark.parametrize(
    "change", [{"image_size": 0}, {"image_size": 10**6}, {"lens_noise": float("nan")}, {"lens_noise": 3}]
)
def test_a_lens_of_a_run_of_impossible_settings_is_one_line(stranger, capsys, change):
    stored = yaml.safe_load((stranger / "settings.yaml").read_text())
    (stranger / "settings.yaml").write_text(yaml.safe_dump(stored | change))
    words = [*TINY, "--data", "./photos", "--lens_weights", "run/lens.safetensors", "--out", "new"]
    assert "settings.yaml cannot be read" in refused(capsys, train.main, *words)


@pytest.mark.parametrize("name", ["tu-local-dir:./photos", "tu-hf-hub:a/b", "tu-vit_tiny_patch16_224"])
def test_a_lens_of_another_place_or_kind_is_one_line(stranger, capsys, name):
    error = refused(
        capsys, train.main, *TINY, "--data", "./photos", "--lens", "unet", "--lens.encoder", name, "--out", "new"
    )
    assert "--lens.encoder" in error
    assert not Path("new").exists()


def test_a_foreign_folder_in_the_place_of_a_cache_is_left_alone(stranger):
    stored = yaml.safe_load((stranger / "settings.yaml").read_text())
    (stranger / "settings.yaml").write_text(yaml.safe_dump(stored | {"cache_dir": "./victim"}))
    work = Path("victim/.building-work")
    work.mkdir(parents=True)
    (work / "file").write_text("precious")
    os.utime(work, (0, 0))
    assert probe.main(["run"]) == 0
    assert (work / "file").read_text() == "precious"
