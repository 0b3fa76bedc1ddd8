"""The comparison with other tools: which pictures they are given, and what is said where they are not installed."""

import sys
from pathlib import Path

import pytest
from pictures import write_folder

from benchmarks import audit_rivals
from lens.base.errors import BadInput


def test_every_tool_is_given_the_same_pictures(tmp_path, monkeypatch, capsys):
    """And its answer stands beside the time that it took."""
    folders = [str(write_folder(tmp_path / name, 12, seed=k)) for k, name in enumerate(("a", "b"))]
    seen = []

    def tool(pair, count, seed):
        seen.append([audit_rivals.pictures(one, count, seed) for one in pair])
        return {"sees": ["nothing"]}

    for name in ("cleanlab", "dataeval"):
        monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.setattr(audit_rivals, "TOOLS", {"one": tool, "other": tool})
    out = tmp_path / "found.json"
    assert audit_rivals.main(["--pair", *folders, "--images", "5", "--seed", "3", "--out", str(out)]) == 0
    assert seen[0] == seen[1]
    assert [len(files) for files in seen[0]] == [5, 5]
    assert seen[0] != [audit_rivals.pictures(one, 5, 4) for one in folders]
    assert "| a / b | other | nothing |" in capsys.readouterr().out
    assert out.read_text().count('"sees"') == 2


def test_a_tool_that_is_missing_and_a_folder_without_pictures_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    assert audit_rivals.main(["--pair", "a", "b"]) == 2
    assert "pip install dataeval cleanlab cleanvision" in capsys.readouterr().err
    with pytest.raises(BadInput, match="holds no"):
        audit_rivals.pictures(str(tmp_path), 3, 0)


def test_a_built_in_set_is_given_as_a_folder_of_its_files(tmp_path, monkeypatch, capsys):
    other = str(write_folder(tmp_path / "b", 6))
    seen = []

    def tool(pair, count, seed):
        seen.append([[Path(file).read_bytes()[:3] for file in audit_rivals.pictures(one, count, seed)] for one in pair])
        return {"sees": ["nothing"]}

    for name in ("cleanlab", "dataeval"):
        monkeypatch.setitem(sys.modules, name, sys)
    monkeypatch.setattr(audit_rivals, "TOOLS", {"one": tool})
    assert audit_rivals.main(["--pair", "chest_xray", other, "--images", "5"]) == 0
    assert seen[0][0] == [b"\xff\xd8\xff"] * 5  # JPEG files
    assert "| chest_xray / b | one | nothing |" in capsys.readouterr().out
