"""Every command of README runs, with tiny overrides."""

import functools
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import TINY, fit, write_folder
from test_data import write_parquet

from lens import ablate, cli, train
from lens.measuring import judges

ROOT = Path(__file__).parent.parent
OVERRIDES = [word for word in TINY if word not in ("--extractor", "test_resnet")]


def commands():
    """Each `python -m lens.VERB …` or `lens VERB …` of a code block, without pip and pytest."""
    found = []
    for block in re.findall(r"```(?:bash|sh|)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.split(" && ")[-1].split("#")[0].strip()
            if re.match(r"(python -m lens\.|lens )", line):
                found.append(line)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that holds what README's examples name: ./photos/, ./cifar10/, configs/, my_task.py, runs/first."""
    folder = tmp_path_factory.mktemp("readme")
    write_folder(folder / "photos", 60)
    write_folder(folder / "more_photos", 20, seed=3)
    write_folder(folder / "labelled_photos", 20, seed=5)
    (folder / "cifar10").mkdir()
    write_parquet(folder / "cifar10" / "train-0.parquet", 80)
    write_parquet(folder / "cifar10" / "test-0.parquet", 20, start=9)
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "lens" / "tasks" / "rotation.py", folder / "my_task.py")
    for name in ("first", "second"):
        argv = [*TINY, "--steps", "2", "--data", f"{folder}/photos", "--out", str(folder / "runs" / name)]
        assert train.main(argv) == 0
    both = ["--task", "dataset_classification", "--data", f"{folder}/photos", f"{folder}/more_photos"]
    assert train.main([*TINY, *both, "--steps", "2", "--out", str(folder / "runs" / "sources")]) == 0
    return folder


def test_readme_has_commands():
    assert len(commands()) >= 8
    text = (ROOT / "README.md").read_text()
    assert "pip install -e '.[demo]' && python -m lens.train --task rotation" in text
    assert "<!-- main command -->" in text
    assert "<!-- test command -->" in text


@pytest.mark.parametrize("command", commands())
def test_a_command_of_readme_runs(place, command, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    words = shlex.split(command)
    verb, *argv = words[1:] if words[0] == "lens" else [words[2].removeprefix("lens."), *words[3:]]
    if verb == "train" and "--resume" not in argv:
        tiny = OVERRIDES if "--config" in argv else TINY
        argv = [*argv, *tiny, "--epochs", "null", "--steps", "1", "--test_images", "8", "--out", str(tmp_path / "run")]
        if "--config" in argv:
            argv += [
                "--extractor",
                "test_resnet",
                "--extractor_args",
                "{}",
                "--workers",
                "0",
                "--lens_encoder",
                "tu-tf_mobilenetv3_small_minimal_100",
                "--precision",
                "32",  # few CPUs have instructions for bf16
            ]
        if "jigsaw" in argv:
            argv += ["--jigsaw.embedding", "32", "--jigsaw.hidden", "64"]
        if "--data" not in argv:
            argv += ["--probe_images", "100"]
        argv = fit(argv)
    if "--removal" in argv:
        argv += ["--removal_steps", "2", "--removal_seeds", "1", "--removal_images", "24"]
        monkeypatch.setattr(judges, "Recipe", functools.partial(judges.Recipe, batch=8))
    if verb == "ablate":
        # Every run's settings are read; a real grid is run in test_ablate.
        argv += ["--out", str(tmp_path / "grid")]
        monkeypatch.setattr(ablate, "run_all", lambda asked, out, grid, runs, argv: 0 if len(runs) in (8, 9) else 1)
    if verb == "train" and "--resume" in argv:
        argv = [*argv[: argv.index("--steps")], "--steps", "3"] if "--steps" in argv else argv
    assert cli.main([verb, *argv]) == 0
