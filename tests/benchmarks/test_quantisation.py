"""The benchmark of recovered steps stores what it says, and counts a source as named within one alone."""

import numpy as np
import PIL.Image
import pytest
import torch
from cue_pictures import photo

from benchmarks import quantisation as benchmark
from lens.images.opening import open_source
from lens.operations.quantisation_steps import Steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        PIL.Image.fromarray(photo(seed, (120, 150), grain=9.0)).save(place / f"{seed}.png")
    return place


def test_the_table_has_a_row_for_each_source(folder, tmp_path, capsys):
    out = tmp_path / "table.md"
    assert benchmark.main(["--data", f"{folder}/", "--sources", "2", "--images", "2", "--out", str(out)]) == 0
    rows = [line for line in out.read_text().splitlines() if line.startswith("| 30 |") or line.startswith("| 95 |")]
    assert [row.split(" | ")[1] for row in rows] == ["4:4:4", "4:2:2"]
    assert all(row.count("|") == len(benchmark.COLUMNS) + 1 for row in rows)
    assert "of 2 sources are named within one." in capsys.readouterr().out


@pytest.mark.parametrize(("told", "right"), [(50, True), (51, True), (49, True), (52, False), (None, False)])
def test_within_one_counts(folder, monkeypatch, told, right):
    nothing = np.zeros((8, 8), np.int64)
    monkeypatch.setattr(benchmark, "recovered_of", lambda pictures: Steps(nothing, nothing, told, None, None, 0.0))
    source = open_source(f"{folder}/")
    found, cells = benchmark.measured(source, np.arange(2), 50, 0)
    assert found == right
    assert cells[5:7] == ["0", ""]


def test_pictures_are_stored_once_at_the_quality(folder):
    source = open_source(f"{folder}/")
    first, again = (benchmark.copies(source, np.arange(1), quality, 0)[0] for quality in (40, 90))
    assert first.shape == (80, 100, 3)
    assert torch.tensor(first.astype(int) - again).abs().float().mean() > 2
