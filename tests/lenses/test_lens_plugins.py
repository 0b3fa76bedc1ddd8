"""A lens of one's own, from a file: it trains, is named again to be measured, and nobody else's runs unasked."""

import json
from pathlib import Path

import pytest
from own_plugins import LENS
from tiny import TINY

from lens import probe, train
from lens.base.errors import BadInput
from lens.protocols.lens import Lens
from lens.protocols.lookup import find, names

DEPTH = TINY.index("--lens.depth")
QUICK = [*TINY[:DEPTH], *TINY[DEPTH + 2 :]]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_lens.py").write_text(LENS)
    return "./my_lens.py"


def refused(capsys, main, *words):
    capsys.readouterr()
    assert main([*words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_trains_and_is_measured_where_it_is_named_again(file, photos, capsys):
    words = [
        *QUICK,
        "--val_every",
        "6",
        "--checkpoint_every",
        "6",
        "--data",
        str(photos),
        "--target_psnr",
        "12",
        "--lens_lr",
        "0.1",
    ]
    assert (
        train.main([*words, "--lens", file, "--lens.most", "0.3", "--steps", "6", "--log_every", "6", "--out", "run"])
        == 0
    )
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["lens"] == "my_lens"
    assert summary["reconstruction"]["psnr"] < 60  # it did change something
    assert f"say so with --lens {file}" in refused(capsys, probe.main, "run")
    assert probe.main(["run", "--lens", file]) == 0


def test_a_config_runs_no_lens_that_is_not_named_by_hand(file, photos, capsys):
    Path("c.yaml").write_text(f"lens: {file}\n")
    line = refused(capsys, train.main, *QUICK, "--data", str(photos), "--config", "c.yaml", "--out", "run")
    assert f"c.yaml uses the lens file {file}: if you trust that file, say so with --lens {file}" in line


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        (("def network", "def net"), "lacks network"),
        (("    most: float = 0.5", "    learns = False\n    most: float = 0.5"), "lacks direction"),
    ],
)
def test_what_a_lens_lacks_is_one_line(file, change, lacks):
    Path(file).write_text(LENS.replace(*change))
    with pytest.raises(BadInput, match=lacks):
        find("lens", file)


@pytest.mark.parametrize("name", names("lens"))
def test_every_lens_of_the_package_says_what_it_is(name):
    plugin = find("lens", name)()
    own = type(plugin)
    gives = [
        method for method in ("network", "apply", "direction") if getattr(own, method) is not getattr(Lens, method)
    ]
    assert gives == plugin.needs()  # what it says of itself is what it has, and nothing beside it
    assert plugin.changes == (name != "none")
    assert plugin.multiple >= 1
