"""Tables and notebooks: what is shown comes from the package."""

import ast
import io
import json

import numpy as np
import PIL.Image
import pytest
from tiny import ROOT, SUMMARY

from lens.base.bar import Bar
from lens.figures import drawing, summary_table
from lens.figures import run as figures
from lens.record import schemas
from lens.results.summary import Summary

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.IfExp, ast.Try, ast.With, ast.comprehension)  # fmt: skip


def test_the_markdown_table_has_the_figures_of_the_summary():
    summary = schemas.summary((ROOT / "results" / "chest_xray_summary.json").read_text())
    lines = summary_table.markdown(summary).splitlines()
    assert lines[:2] == ["| measure | value | 95 % interval | note |", "| --- | ---: | ---: | --- |"]
    assert "| rotation accuracy, raw | 99.9 % | 99.1 % – 100.0 % | chance 25 %, 674 images |" in lines
    assert all(line.count("|") == 5 for line in lines)
    readme = (ROOT / "README.md").read_text()
    told = {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in lines)}
    shown = {
        cells[1].strip(): cells[2].strip()
        for cells in (line.split("|") for line in readme.splitlines())
        if len(cells) == 5
    }
    assert shown["rotation accuracy, raw (chance 25 %)"] == told["rotation accuracy, raw"]
    assert shown["PSNR of the lens"] == told["PSNR of the lens"]
    assert shown["rotation accuracy, lensed"] == told["rotation accuracy, lensed"]
    assert shown["downstream linear, NORMAL or PNEUMONIA (chance 52.8 %)"] == told["chest_xray: linear"]


def test_a_name_with_brackets_is_shown_in_tables_and_bars(monkeypatch, capsys):
    monkeypatch.setattr(summary_table, "table", lambda summary: [("[real]: linear", "1", "", "")])
    summary_table.print_table(Summary.of_json(SUMMARY | {"data": "./set[real]/"}))
    printed = capsys.readouterr().out
    assert "./set[real]/" in printed
    assert "[real]: linear" in printed
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Bar("raw: set[real]", 2, "files [red]") as bar:
        bar.advance(1, "at [bold]one")
    shown = capsys.readouterr().err
    for words in ("set[real]", "files [red]/s", "at [bold]one"):
        assert words in shown


@pytest.mark.pictures
def test_the_edits_are_rows_of_pictures_beside_their_names_on_one_axis(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    clean, original, lensed = rng.integers(0, 256, (3, 5, 8, 8, 3)).astype(np.uint8)
    drawn = []
    monkeypatch.setattr(figures, "save_picture", lambda plt, figure, file: drawn.append(figure))
    figures.edits({"clean": clean, "original": original, "lensed": lensed}, tmp_path / "edits.png")
    ((axis,),) = (figure.axes for figure in drawn)
    shown = axis.images[0].get_array()
    assert shown.shape == (4 * 8 + 3, 5 * 8 + 4, 3)
    difference = drawing.difference(original, lensed, drawing.amplification(original, lensed))
    centres = axis.get_yticks()
    for number, pictures in enumerate((clean, original, lensed, difference)):
        for column, picture in enumerate(pictures):
            assert np.array_equal(shown[9 * number : 9 * number + 8, 9 * column : 9 * column + 8], picture)
        assert centres[number] == 9 * number + 3.5
    assert (shown[8::9] == 255).all()
    assert (shown[:, 8::9] == 255).all()
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[:3] == ["clean", "planted", "lensed"]
    assert names[3].startswith("difference × ")


def test_a_picture_has_the_pixels_of_savefig_and_is_drawn_once(monkeypatch):
    plt = drawing.pyplot()

    def figure():
        made, axis = plt.subplots(figsize=(3, 2))
        axis.plot([1, 2, 4], label="a")
        axis.legend()
        made.tight_layout()
        return made

    stream = io.BytesIO()
    (slow := figure()).savefig(stream, dpi=130, format="png")
    plt.close(slow)
    made, times = figure(), []
    draw = made.draw
    monkeypatch.setattr(made, "draw", lambda renderer: times.append(renderer) or draw(renderer))
    found, expected = (np.array(PIL.Image.open(file)) for file in (io.BytesIO(drawing.png(plt, made)), stream))
    assert np.array_equal(found, expected)
    assert len(times) == 1


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
