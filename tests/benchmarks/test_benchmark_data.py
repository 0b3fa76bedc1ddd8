"""The data benchmark measures what it says, and its JSON has what tables read."""

import json

import pytest
from pictures import write_folder

from benchmarks import data as benchmark


def test_the_benchmark_writes_all_rates(tmp_path, capsys):
    argv = ["--images", "24", "--batch_size", "8", "--rounds", "3", "--size", "16", "--json", str(tmp_path / "a.json")]
    assert benchmark.main(argv) == 0
    result = json.loads((tmp_path / "a.json").read_text())
    assert set(result) == {"data", "images", "size", "batch_size", "rounds", "cores", "image_bytes", "rates"}
    assert list(result["rates"]) == ["decode", "decode, plain", "cache", "cache, plain", "uncached"]
    for part in result["rates"].values():
        assert 0 < part["lowest"] <= part["images_per_second"] <= part["highest"]
        assert part["megabytes_per_second"] == pytest.approx(part["images_per_second"] * 16 * 16 * 3 / 1e6)
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]) == 6


def test_rounds_are_interleaved_and_the_first_is_not_counted(monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: clock[0])

    def way(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds if len(calls) > 2 else 100
            return 10

        return run

    rates = benchmark.measure({"a": way("a", 1), "b": way("b", 2)}, 3)
    assert calls == ["a", "b"] * 4
    assert rates == {"a": [10, 10, 10], "b": [5, 5, 5]}


def test_it_measures_a_source_of_ones_own_and_refuses_a_missing_one_in_one_line(tmp_path, capsys):
    write_folder(tmp_path / "photos", 10)
    argv = ["--data", str(tmp_path / "photos"), "--rounds", "1", "--size", "8", "--json", str(tmp_path / "a.json")]
    assert benchmark.main(argv) == 0
    assert json.loads((tmp_path / "a.json").read_text())["images"] == 20
    assert benchmark.main(["--data", "./nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
