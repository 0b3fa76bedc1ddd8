"""Settings that a run would ignore: a person who gives one is told; what is stored, or common to a grid, is left alone."""

import json
import os
from pathlib import Path

import pytest
import yaml
from pictures import write_folder
from tiny import TINY

from lens import ablate, compare, probe, prove, train
from lens.base.errors import BadInput
from lens.grids.file import read
from lens.settings import idle
from lens.settings.parsing import parse
from lens.settings.run_settings import FIELDS

NONE = ["--lens", "none"]
FGSM = ["--lens", "fgsm"]
ROWS = [
    *((NONE, name, value, "with --lens none") for name, value in {
        "target_psnr": 25, "recon_weight": 3, "lens_noise": 0.1, "objective": "full", "lens_lr": 1e-3, "feed": "both",
        "batch_norm": "separate", "lens_update_every": 2, "lens_ema": 0.5, "lens_grey": "free",
        "lens_weights": "x.safetensors",
    }.items()),
    *((FGSM, name, value, "with --lens fgsm no lens learns") for name, value in {
        "objective": "uniform", "lens_lr": 1e-3, "lens_update_every": 2, "lens_ema": 0.5,
    }.items()),
    (FGSM, "lens_noise", 0.1, "with --lens fgsm no lens is given noise"),
    (["--feed", "lensed"], "batch_norm", "joint", "images of one kind"),
    (["--task", "dataset_classification", "--data", "./a", "./b"], "batch_norm", "joint", "--feed lensed the extractor learns from images of one"),
    (["--lens", "border"], "lens_lr", 0.1, "with --lens border no lens learns"),
    *((argv, "steering", "integral", "nobody steers the weight") for argv in (NONE, FGSM, ["--lens", "erase"], ["--recon_weight", "3"])),
    ([], "shortcut_key", "image", "no --shortcut is planted"),
    (["--shortcut", "arrow"], "shortcut_share", 0.5, "no --shortcut is planted with --shortcut_key label"),
    *(([], name, value, "it belongs to --prove") for name, value in {
        "judges": "resnet18", "judge_seeds": 2, "judge_steps": 5, "judge_images": 9, "raised_judges": True, "judge_cues": False,
    }.items()),
    *(([], name, value, "it belongs to --wandb") for name, value in {"wandb_group": "a", "wandb_tags": "b", "wandb_project": "c"}.items()),
    (["--cache", "none"], "max_bad_fraction", 0.5, "ends the run"),
    ([], "image_column", "img", "no --data is a table"),
    ([], "label_column", "label", "no --data is a table"),
    ([], "data_root", "/tmp", "no --data or --probe is a data set"),
    ([*NONE, "--optimizer", "sgd"], "adam_beta1", 0.5, "there is no Adam"),
]  # fmt: skip


def ids(row):
    return f"{row[1]}-{'-'.join(row[0])}"


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_setting_that_nobody_would_read_is_told_as_a_flag_and_in_a_config(tmp_path, monkeypatch, row):
    given, name, value, message = row
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=f"--{name} would be ignored: .*{message}.*leave it out"):
        parse([*given, f"--{name}", str(value)], "lens.train")
    Path("c.yaml").write_text(yaml.safe_dump({name: [value] if name == "wandb_tags" else value}))
    default = {field.name: field.default for field in FIELDS.values()}[name]
    if value == default:  # as in a whole settings.yaml, or what --print_config prints: it says nothing
        parse([*given, "--config", "c.yaml"], "lens.train")
    else:
        with pytest.raises(BadInput, match=f"--{name} would be ignored"):
            parse([*given, "--config", "c.yaml"], "lens.train")


def test_every_need_is_of_a_setting_and_every_row_above_has_one():
    needs = {field.name: field.metadata.get("needs") for field in FIELDS.values()}
    assert {need for need in needs.values() if need} == idle.NEEDS.keys()
    assert {name for name, need in needs.items() if need} == {row[1] for row in ROWS}


@pytest.mark.parametrize(
    "words",
    [
        [*FGSM, "--target_psnr", "20"],
        [*FGSM, "--feed", "both", "--batch_norm", "joint"],
        ["--lens.depth", "3", "--lens_lr", "1e-3"],
        ["--shortcut", "arrow", "--shortcut_key", "random"],
        ["--prove", "--judge_seeds", "1"],
        ["--wandb", "offline", "--wandb_group", "a"],
        ["--data", "./a.parquet", "--image_column", "img"],
        ["--data", "chest_xray", "cifar10", "--data_root", "/tmp"],
        ["--data", "chest_xray", "--probe", "cifar10", "--data_root", "/tmp"],
        ["--optimizer", "sgd", "--adam_beta1", "0.5"],
        [*NONE, "--adam_beta1", "0.5"],
        [*NONE, "--target_psnr", "null"],
    ],
    ids=lambda words: " ".join(words),
)
def test_what_somebody_reads_is_taken(words):
    parse(words, "lens.train")


def test_a_runs_stored_settings_are_never_refused_but_what_is_given_now_is():
    stored = parse(["--lens", "none"], "lens.train").plain | {
        "lens": "none",
        "objective": None,
        "lens_lr": 0.5,
        "shortcut_key": "image",
    }
    parsed = parse([], "lens.train", stored)
    assert (parsed.settings.optimisation.lens_lr, parsed.given) == (0.5, frozenset())
    with pytest.raises(BadInput, match="--judge_seeds would be ignored"):
        parse(["--judge_seeds", "2"], "lens.train", stored)
    parse(["--judge_seeds", "2"], "lens.train", stored | {"prove": True})


def test_the_settings_that_a_run_writes_can_be_given_to_another(tmp_path):
    plain = parse(["--lens", "none", "--lr", "0.5"], "lens.train").plain
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    assert parse([f"--config={tmp_path}/c.yaml"], "lens.train").settings.optimisation.lr == 0.5


def grid(place, **more):
    content = {"axes": {"lens": ["none", "full_res"]}, "seeds": [0], "baseline": {"lens": "none"}} | more
    (place / "g.yaml").write_text(json.dumps(content))
    return place / "g.yaml"


def test_a_grids_common_settings_go_to_the_arms_that_they_concern(tmp_path):
    settings = {"lens_lr": 0.5, "lens.depth": 3, "lr": 0.1, "shortcut_key": "image", "data": "./a"}
    none, uniform = read(grid(tmp_path, settings=settings)).runs()
    assert "--lens_lr=0.5" in uniform.words
    assert "--lens=full_res" in uniform.words
    assert "--lens.depth=3" in uniform.words
    assert [word for word in none.words if "lens" in word] == ["--lens=none"]
    assert "--lr=0.1" in none.words
    assert not [word for word in none.words + uniform.words if "shortcut_key" in word]
    for run in (none, uniform):
        parse([*run.words, "--seed=0"], "lens.train")  # as lens.train will
    told = read(grid(tmp_path), [("target_psnr", 20), ("lens.depth", 4)]).runs()
    assert [sum("psnr" in word or "depth" in word for word in run.words) for run in told] == [0, 2]


@pytest.mark.parametrize(
    "more",
    [
        {"axes": {"lens": {"none": {"lens": "none", "lens_lr": 0.5}, "full_res": {}}}},
        {"axes": {"lens": ["none", "full_res"], "lens_lr": [3, 4]}},
        {"rules": [{"when": {"lens": "none"}, "set": {"feed": "lensed"}}]},
    ],
)
def test_a_setting_of_an_axis_or_a_rule_that_nobody_would_read_is_told_with_its_cell(tmp_path, more):
    with pytest.raises(BadInput, match=r"the cell 'none.*would be ignored: with --lens none"):
        read(grid(tmp_path, **more)).runs()


def test_a_grids_own_flags_that_nobody_reads_are_told(tmp_path, capsys):
    assert ablate.main([str(grid(tmp_path)), "--table", "--jobs", "2"]) == 2
    assert "--jobs 2 would be ignored: --table runs nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image_column", "img"], "--image_column img would be ignored: no --probe is a table"),
        (["--label_column", "label"], "--label_column label would be ignored"),
        (["--probe_epochs", "7"], "--probe_epochs 7 would be ignored: it is the sgd probe's"),
        (["--task", "jigsaw"], "--task jigsaw would be ignored: run has the task 'rotation'"),
        (["--shortcut", "jpeg"], "--shortcut jpeg would be ignored: run has the shortcut 'none'"),
        (["--threads", "100000"], "--threads is 100000"),
    ],
)
def test_a_probes_settings_that_nobody_would_read_are_told(probed, capsys, words, message):
    assert probe.main(["run", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image_column", "img"], "--image_column img would be ignored: no --probe is a table"),
        (["--probe_images", "7"], "--probe_images 7 would be ignored"),
        (["--judge_seeds", "0"], "--judge_seeds is 0"),
    ],
)
def test_a_proofs_settings_that_nobody_would_read_are_told(probed, capsys, words, message):
    assert prove.main(["run", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("idle")
    write_folder(place / "photos", 20)
    here = os.getcwd()
    os.chdir(place)
    try:
        assert train.main([*TINY, "--steps", "1", "--data", "./photos", "--out", "run"]) == 0
    finally:
        os.chdir(here)
    return place


@pytest.fixture
def probed(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


# --- what a person means ---------------------------------------------------------------------------------------------


def test_a_path_that_begins_with_a_tilde_is_the_persons_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = [field.name for field in FIELDS.values() if field.metadata.get("path")]
    assert {"out", "resume", "data", "cache_dir", "probe", "lens_weights", "extractor_weights", "data_root"} <= {*paths}
    told = ["--out", "~/x", "--data", "~/a", "~/b", "--probe=~/c", "--cache_dir=~/d", "--extractor_weights", "~/e"]
    settings = parse(told, "lens.train").settings
    assert settings.record.out == f"{tmp_path}/x"
    assert (settings.data.sources, settings.measuring.probes) == ([f"{tmp_path}/a", f"{tmp_path}/b"], [f"{tmp_path}/c"])
    assert (settings.data.cache_dir, settings.players.extractor_weights) == (f"{tmp_path}/d", f"{tmp_path}/e")
    (tmp_path / "c.yaml").write_text("out: ~/y\ndata: ~/z\n")
    settings = parse(["--config", "~/c.yaml"], "lens.train").settings
    assert (settings.record.out, settings.data.sources) == (f"{tmp_path}/y", [f"{tmp_path}/z"])
    for call in (train.main, lambda argv: probe.main([argv[1]])):
        assert call(["--resume", "~/nothing"]) == 2
    assert not Path("~").exists()


def test_a_tilde_in_any_verb_makes_no_folder_of_that_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "home" / "photos", 20)
    assert train.main([*TINY, "--steps", "1", "--data=~/photos", "--out=~/run"]) == 0
    assert train.main(["--resume=~/run", "--steps", "2"]) == 0
    assert probe.main(["~/run"]) == 0
    monkeypatch.setattr(ablate, "run_all", lambda *_: 0)
    grid(tmp_path / "home")
    assert ablate.main(["~/g.yaml", "--out=~/grid"]) == 0
    assert (tmp_path / "home" / "grid" / "grid.yaml").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["home"]
    assert train.main(["--out", "~no_such_user/x"]) == 2
    assert "there is no such user; for a name that begins with ~ write ./~no_such_user/x" in capsys.readouterr().err


LONG = "x/" * 2500
PATHS = ["out", "resume", "data", "probe", "data_root", "cache_dir", "extractor_weights", "lens_weights", "match_mse", "task", "shortcut", "config"]  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("value", [LONG, "./" + "y" * 300, "./a\0b", "./\udcff"], ids=["long", "part", "nul", "bytes"])
def test_a_path_that_no_file_system_holds_is_one_line(tmp_path, monkeypatch, capsys, name, value):
    monkeypatch.chdir(tmp_path)
    more = ["--lens", "fgsm"] if name == "match_mse" else []
    assert train.main([*more, f"--{name}", value]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lens: error: ")
    assert error.count("\n") == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("verb", "argv"),
    [
        (probe.main, ["{}"]),
        (probe.main, ["run", "--fuse", "{}", "--fuse_control", "x"]),
        (compare.main, ["run", "run2", "--out", "{}"]),
    ],
)
@pytest.mark.parametrize("value", [LONG, "./" + "y" * 300, "./a\0b", "./\udcff"], ids=["long", "part", "nul", "bytes"])
def test_a_path_of_a_probe_that_no_file_system_holds_is_one_line(probed, capsys, verb, argv, value):
    assert verb([word.format(value) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lens: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "1:30"], "--steps is '1:30': it must be a whole number or null"),
        (["--steps=1:30"], "--steps is '1:30'"),
        (["--lr", "1:30.5"], "--lr is '1:30.5': it must be a number"),
        (["--shortcut", "arrow", "--shortcut.size", "1:30"], "--shortcut.size is '1:30'"),
        (["--threads", "100000"], "--threads is 100000: it must be a finite number, at least 1 and at most 1024"),
        (["--num_workers", "100000"], "--num_workers is 100000"),
        (
            ["--prove", "--judge_seeds", "9" * 20],
            "--judge_seeds is 99999999999999999999: it must be a finite number, at least 1 and at most 1000",
        ),
        (["--val_images", "9" * 20], "and at most 1e+12"),
        (["--extractor_args", "[1]"], "it must be a mapping"),
        (
            ["--extractor_args.a.b", "1", "--extractor_args.a", "2", "--extractor_args.a.c", "3"],
            "a holds 2 and no mapping",
        ),
        (["--extractor_args"], "--extractor_args needs a value"),
        (["--seed", "9" * 5000], "--seed is a number of 5000 characters"),
        (["--lr", "1" + "0" * 400], "--lr is a number of 401 characters"),
        (["--lens", "fgsm", "--match_mse", "1" + "0" * 400], "--match_mse"),
        (["--shortcut", "arrow", "--shortcut.size", "1" + "0" * 400], "--shortcut.size is a number of 401 characters"),
    ],
)
def test_a_number_that_is_none_is_one_line(words, message):
    with pytest.raises(BadInput) as caught:
        parse(words, "lens.train")
    assert message in str(caught.value)


def test_a_date_or_a_time_is_an_axis_value_as_it_is_written(tmp_path):
    text = "axes:\n  group_by: [2020-01-01, 1:30]\nseeds: [0]\nbaseline: {group_by: 2020-01-01}\n"
    (tmp_path / "g.yaml").write_text(text)
    runs = read(tmp_path / "g.yaml").runs()
    assert [run.cell for run in runs] == [{"group_by": "2020-01-01"}, {"group_by": "1:30"}]
    assert "--group_by=1:30" in runs[1].words


def test_a_folder_whose_name_looks_like_a_list_is_one_folder(tmp_path):
    (tmp_path / "c.yaml").write_text("data: '[weird]'\n")
    assert parse(["--config", f"{tmp_path}/c.yaml"], "lens.train").settings.data.sources == ["[weird]"]
    stored = parse(["--data", '["./[a]"]'], "lens.train").plain
    assert parse([], "lens.train", stored).settings.data.sources == ["./[a]"]
