"""The benchmark of contents' leaks cuts a set by its classes, asks the rows of history alone, and says which are above the verdict's share."""

import dataclasses
import json

import PIL.Image
import pytest
from cue_pictures import jpeg, photo

from benchmarks import contents as benchmark
from lens.auditing import reading
from lens.base.errors import BadInput
from lens.images.opening import open_source
from lens.protocols.lookup import find

HALVES = benchmark.Halves("a / the rest", ("a",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes; what is in `a` was stored at a low quality."""
    place = tmp_path_factory.mktemp("classes")
    for number in range(180):
        name = "abc"[number % 3]
        (place / name).mkdir(exist_ok=True)
        native = photo(number, (64, 64), grain=9.0)
        PIL.Image.fromarray(jpeg(native, 20) if name == "a" else native).save(place / name / f"{number}.png")
    return place


def test_halves_are_cut_by_class_and_are_as_large(folder):
    source = open_source(f"{folder}/")
    names = [record.name for record in source.listing().records]
    first, second = benchmark.positions(source, HALVES, 1000, 0)
    assert len(first) == len(second) == 60
    assert {names[k][0] for k in first} == {"a"}
    assert {names[k][0] for k in second} == {"b", "c"}
    (_, only) = benchmark.positions(source, benchmark.Halves("a / b", ("a",), ("b",)), 30, 0)
    assert {names[k][0] for k in only} == {"b"}
    with pytest.raises(BadInput, match="no class d"):
        benchmark.positions(source, benchmark.Halves("d / the rest", ("d",)), 30, 0)


def test_a_row_above_the_verdicts_share_is_marked(folder, tmp_path, monkeypatch, capsys):
    few = {name: find("cue", name)() for name in ("header", "mean_colour", "quantisation", "noise")}
    monkeypatch.setattr(reading, "every_cue", lambda: few)
    monkeypatch.setattr(benchmark, "HALVES", {"large": HALVES})
    out = tmp_path / "c.json"
    assert benchmark.main(["--large", f"{folder}/", "--out", str(out)]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| a /")]
    assert [line.split(" | ")[2] for line in table] == ["quantisation", "noise"]
    assert "more than allowed" in table[0]
    assert "never acquisition" in table[1]
    assert [row["name"] for row in json.loads(out.read_text())] == ["quantisation", "noise"]


def test_a_row_within_the_share_is_called_so():
    @dataclasses.dataclass
    class Told:
        balanced_accuracy: object
        acquisition: bool
        accuracy: float
        excess: float
        null: float = 0.5
        name: str = "block_grid"

    ends = dataclasses.make_dataclass("Ends", ["interval"])((0.6, 0.7))
    assert benchmark.line(HALVES, Told(ends, True, 0.79, 0.58), 9)[-1] == "yes"
    assert benchmark.line(HALVES, Told(ends, True, 0.81, 0.62), 9)[-1] == "more than allowed"


def test_no_set_is_refused(capsys):
    assert benchmark.main([]) == 2
    assert "--small" in capsys.readouterr().err
