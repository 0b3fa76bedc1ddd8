"""A file inside a room edits no list anywhere: a new task, lens and source are found, and the contracts hold for them."""

import os
import shutil
import subprocess
import sys

import pytest
from own_plugins import NEW
from tiny import ROOT


@pytest.fixture
def copy(tmp_path):
    """The package with three files more, and no line of it changed."""
    shutil.copytree(ROOT / "lens", tmp_path / "lens", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in NEW.items():
        (tmp_path / "lens" / name).write_text(text)
    return tmp_path


def python(place, *words):
    environment = os.environ | {"PYTHONPATH": str(place)}
    return subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True)


CONTRACTS = (
    "-c",
    "import sys; sys.argv = ['lint-imports', '--no-cache']; from importlinter.cli import lint_imports_command as run; run()",
)


def test_new_plugins_are_found_told_of_and_keep_the_contracts(copy):
    done = python(copy, *CONTRACTS)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 4 kept, 0 broken" in done.stdout
    told = python(copy, "-P", "-m", "lens.train", "--help")
    for line in (
        "upside_down (Is the picture upside down?)",
        "shift (A shift of brightness",
        "squares (Twenty grey squares.)",
    ):
        assert line in " ".join(told.stdout.split())
    words = [
        "--task",
        "upside_down",
        "--lens",
        "shift",
        "--lens.most",
        "0.2",
        "--data",
        "squares",
        "--out",
        "run",
        "--device",
        "cpu",
    ]
    tiny = [
        "--extractor",
        "test_resnet",
        "--image_size",
        "32",
        "--cache_image_size",
        "32",
        "--batch_size",
        "4",
        "--steps",
        "2",
    ]
    done = python(copy, "-P", "-m", "lens.train", *words, *tiny, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "lens.most: 0.2\n" in (copy / "run" / "settings.yaml").read_text()


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("lenses/shift.py", "from lens.players.lens import LearnedLens", "Each layer imports only from those below it"),
        ("players/lens.py", "from lens.lenses.shift import Shift", "Plug-ins are found by the look-up"),
        ("images/content.py", "from lens.images.cache import cached", "No circles between the files of a room"),
        ("base/phases.py", "import wandb", "Weights & Biases is imported in one file"),
        ("attic/old.py", "import torch", "Each layer imports only from those below it"),
    ],
)
def test_a_wrong_import_or_a_room_that_nobody_drew_breaks_a_contract(copy, file, line, contract):
    place = copy / "lens" / file
    place.parent.mkdir(exist_ok=True)
    (place.parent / "__init__.py").touch()
    before = place.read_text() if place.exists() else '"""New."""\n'
    place.write_text(before.replace("from __future__ import annotations\n", "") + f"\n{line}\n")
    done = python(copy, *CONTRACTS)
    assert done.returncode == 1
    shown = " ".join(done.stdout.split())
    assert f"{contract} BROKEN" in shown or f"{contract}: nobody imports one BROKEN" in shown, done.stdout
