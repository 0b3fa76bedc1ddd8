"""Names of 0.3: taken for one version, told once, and no way round what the new names are held to."""

import json
from pathlib import Path

import pytest

from lens import ablate, compare, probe, prove, train
from lens.base.errors import BadInput
from lens.grids.file import read
from lens.settings import old_names
from lens.settings.parsing import parse

EVIL = "open('owned', 'w').write('x')\n"


@pytest.fixture(autouse=True)
def _afresh(monkeypatch, tmp_path):
    monkeypatch.setattr(old_names, "_told", set())
    monkeypatch.chdir(tmp_path)


def plain(*words):
    return parse([*words], "lens.train").plain


SAME = [
    (["--adversary", "none"], ["--lens", "none"]),
    (["--adversary=fgsm"], ["--lens", "fgsm"]),
    (["--adversary", "full"], ["--objective", "full"]),
    (["--lens_encoder", "smooth", "--lens_depth", "3"], ["--lens", "smooth", "--lens.depth", "3"]),
    (["--lens_encoder=resnet18"], ["--lens", "unet", "--lens.encoder", "resnet18"]),
    (["--task", "jigsaw", "--jigsaw.permutations", "9"], ["--task", "jigsaw", "--task.permutations", "9"]),
    (["--shortcut=arrow", "--arrow={size: 0.3}"], ["--shortcut", "arrow", "--shortcut.size", "0.3"]),
    (["--removal", "--removal_classifiers", "a", "b"], ["--prove", "--judges", "a", "b"]),
    *(([f"--{old}", value], [f"--{new}", value]) for old, new, value in (
        ("accumulate", "grad_accum_steps", "2"), ("warmup", "warmup_fraction", "0.1"), ("workers", "num_workers", "2"),
        ("beta1", "adam_beta1", "0.5"), ("eval_every", "val_every", "7"), ("cache_size", "cache_image_size", "80"),
        ("split_sources", "pseudo_sources", "2"), ("shuffle_targets", "shuffle_labels", "true"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), SAME, ids=lambda words: " ".join(words))
def test_words_and_files_mean_the_same_and_each_name_is_told_once(old, new, capsys):
    assert plain(*old) == plain(*new)
    told = capsys.readouterr().err.splitlines()
    assert told
    assert all("the old name works for one version" in line for line in told)
    plain(*old)
    assert not capsys.readouterr().err


def test_a_file_of_old_names_is_told_with_its_name(capsys):
    Path("c.yaml").write_text(
        "adversary: uniform\nlens_encoder: full\nlens_depth: 3\ntask: jigsaw\njigsaw: {gap: 0}\nwarmup: 0.2\n"
    )
    new = [
        "--objective",
        "uniform",
        "--lens.depth",
        "3",
        "--task",
        "jigsaw",
        "--task.gap",
        "0",
        "--warmup_fraction",
        "0.2",
    ]
    assert plain("--config", "c.yaml") == plain(*new)
    assert all(line.startswith("c.yaml: ") for line in capsys.readouterr().err.splitlines())


def test_every_renamed_setting_is_one_and_has_no_twin():
    assert len(set(old_names.RENAMED.values())) == len(old_names.RENAMED) == 18
    assert not old_names.RENAMED.keys() & old_names.KNOWN


def test_a_grid_and_its_own_workers_are_taken(capsys):
    content = {
        "axes": {"adversary": ["none", "uniform"]},
        "seeds": [0],
        "baseline": {"adversary": "none"},
        "settings": {"lens_depth": 3},
    }
    Path("g.yaml").write_text(json.dumps(content))
    none, lens = read(Path("g.yaml")).runs()
    assert "--lens=none" in none.words
    assert {"--objective=uniform", "--lens.depth=3"} <= set(lens.words)
    assert ablate.main(["g.yaml", "--workers", "0"]) == 2
    assert "--jobs is 0" in capsys.readouterr().err


def test_the_verbs_that_were_flags_of_probe_are_handed_on(monkeypatch, capsys):
    met = []
    for verb in (prove, compare):
        monkeypatch.setattr(verb, "main", lambda argv: met.append(argv) or 0)
    assert probe.main(["run", "--removal", "--removal_seeds", "1"]) == 0
    assert probe.main(["a", "b", "--transfer"]) == 0
    assert met == [["run", "--removal_seeds", "1"], ["a", "b", "--transfer"]]
    assert [line.split(" since")[0] for line in capsys.readouterr().err.splitlines()] == [
        "lens probe --removal is lens prove", "lens probe --transfer is lens compare",
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["lens: ./evil.py", "adversary: ./evil.py", "task: ./evil.py"])
def test_no_name_for_it_makes_a_config_run_code(line, capsys):
    Path("evil.py").write_text(EVIL)
    Path("c.yaml").write_text(line + "\n")
    assert train.main(["--config", "c.yaml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("owned").exists()


@pytest.mark.parametrize("change", [{"task": "./evil.py"}, {"lens": "./evil.py"}, {"adversary": "./evil.py"}])
@pytest.mark.parametrize("exclude", [[], [{"arm": "evil"}]])
def test_no_cell_of_a_grid_runs_code_not_even_one_that_is_excluded(change, exclude):
    Path("evil.py").write_text(EVIL)
    content = {
        "axes": {"arm": {"plain": {}, "evil": change}},
        "seeds": [0],
        "baseline": {"arm": "plain"},
        "exclude": exclude,
    }
    Path("g.yaml").write_text(json.dumps(content))
    with pytest.raises(BadInput, match=r"if you trust that file|adversary is './evil.py'"):
        read(Path("g.yaml")).runs()
    assert not Path("owned").exists()


@pytest.mark.parametrize("kind", ["task", "shortcut", "lens"])
def test_the_parsers_own_name_of_a_section_is_no_setting_and_reads_no_file(kind, capsys):
    Path("other.yaml").write_text("depth: 3\n")
    for words in ([f"--{kind}_settings", "other.yaml"], [f"--{kind}_settings.depth", "3"], ["--config", "c.yaml"]):
        Path("c.yaml").write_text(f"{kind}_settings: other.yaml\n")
        assert train.main(words) == 2
        assert f"unknown setting '{kind}_settings'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--help"], "lens.train")
    assert "_settings" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["3", "null"])
def test_a_plugin_that_is_no_word_is_refused(value, capsys):
    Path("c.yaml").write_text(f"task: {value}\n")
    assert train.main(["--config", "c.yaml"]) == 2
    assert "unknown task" in capsys.readouterr().err
