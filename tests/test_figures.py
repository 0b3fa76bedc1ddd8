"""Tables and notebooks: what is shown comes from the package."""

import ast
import json
from pathlib import Path

import pytest

from lens import figures, terminal

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.IfExp, ast.Try, ast.With, ast.comprehension)  # fmt: skip


def test_the_markdown_table_has_the_figures_of_the_summary():
    summary = json.loads((ROOT / "results" / "chest_xray_summary.json").read_text())
    lines = figures.markdown(summary).splitlines()
    assert lines[:2] == ["| measure | value | 95 % interval | note |", "| --- | ---: | ---: | --- |"]
    assert "| rotation accuracy, raw | 99.7 % | 99.3 % – 99.9 % | chance 25 %, 674 images |" in lines
    assert all(line.count("|") == 5 for line in lines)


def test_a_name_with_brackets_is_shown_in_tables_and_bars(monkeypatch, capsys):
    monkeypatch.setattr(figures, "table", lambda summary: [("[real]: linear", "1", "", "")])
    figures.print_table({"task": "t", "data": "./set[real]/", "steps": 1, "seed": 0})
    printed = capsys.readouterr().out
    assert "./set[real]/" in printed
    assert "[real]: linear" in printed
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with terminal.Bar("raw: set[real]", 2, "files [red]") as bar:
        bar.advance(1, "at [bold]one")
    shown = capsys.readouterr().err
    for words in ("set[real]", "files [red]/s", "at [bold]one"):
        assert words in shown


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_has_no_logic_of_its_own_and_no_outputs(file):
    for cell in json.loads(file.read_text())["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            for part in tree.body:
                assert isinstance(part, (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)), ast.unparse(part)
            assert not [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, LOGIC)]
            assert cell["outputs"] == []
