"""The audit's ground truth: what each pair is made of, and that every cue can be right or wrong about it. Never its readings."""

import json

import numpy as np
import PIL.Image
import pytest
from cue_pictures import photo
from pictures import write_folder

from benchmarks import audit as benchmark
from lens.auditing import reading
from lens.auditing.answers import Answers
from lens.auditing.header import header_of
from lens.protocols.lookup import find, names

write = benchmark.Pictures.write


def test_every_cue_has_a_family_and_every_plant_some():
    families = [name for members in benchmark.FAMILIES.values() for name in members]
    assert sorted([*families, benchmark.WHOLE]) == names("cue")
    assert len(benchmark.PLANTS) == 20
    for plant in benchmark.PLANTS.values():
        assert plant.families
        assert set(plant.families) <= set(benchmark.FAMILIES)
    assert benchmark.family_of("block_grid") == "compression"


def test_every_shortcut_is_planted_at_both_sizes():
    shortcuts = set(names("shortcut")) - {"none"}
    for size in ("small", "large"):
        assert shortcuts <= {name.removeprefix(f"{size}: ") for name in benchmark.PLANTS}


@pytest.mark.parametrize("name", benchmark.PLANTS)
def test_a_plant_changes_the_second_half_alone(name, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    small = name.startswith("small")
    for seed in range(2):
        PIL.Image.fromarray(photo(seed, (32, 32) if small else (90, 120))).save(folder / f"{seed}.png")
    pictures = benchmark.Pictures(str(folder), "small" if small else "large")
    plant = benchmark.PLANTS[name]
    pictures.write(tmp_path / "a", np.arange(2), lambda native, _: plant.other(plant.both(native)), {})
    pictures.write(tmp_path / "b", np.arange(2), lambda native, i: plant.plant(plant.both(native), i), plant.options)
    first, second = (np.array(PIL.Image.open(tmp_path / part / "00000.png")) for part in "ab")
    assert first.shape[0] == first.shape[1] == (32 if small else 65 if "cut" in name else 81)
    if name == "large: header only":
        np.testing.assert_array_equal(first, second)
        assert (
            header_of(tmp_path / "a" / "00000.png")["density_unit"]
            != header_of(tmp_path / "b" / "00000.png")["density_unit"]
        )
    elif name == "large: resized by 0.8":
        assert second.shape == (65, 65, 3)
    else:
        assert first.shape == second.shape
        assert not np.array_equal(first, second)


def test_cutting_moves_the_grid_and_keeps_the_size():
    place = np.arange(40 * 50).reshape(40, 50)
    on, off = benchmark.cut(place, 8, 8), benchmark.cut(place, 5, 3)
    assert on.shape == off.shape == (24, 34)
    assert (on[0, 0], off[0, 0]) == (8 * 50 + 8, 5 * 50 + 3)


def test_a_pair_goes_through_the_audits_ladder(tmp_path, monkeypatch):
    """With four of its cues: a cast of colour is named, and halves that are alike are not told apart."""
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(160):
        PIL.Image.fromarray(photo(seed, (32, 32), grain=9.0)).save(folder / f"{seed}.png")
    few = {name: find("cue", name)() for name in ("header", "block_grid", "mean_colour", "clipping")}
    monkeypatch.setattr(reading, "every_cue", lambda: few)
    monkeypatch.setattr(benchmark, "HALF", {"small": 80, "large": 80})
    sets = {"small": benchmark.Pictures(f"{folder}/", "small")}
    line = benchmark.asked("small: colour_cast", sets, 0)
    assert line["right"]
    assert line["named"] == ["clipping"]
    assert line["images"] == 160
    assert line["rows"].keys() == few.keys()
    assert line["verdict"][0].startswith("without, with can be told apart")
    clean = benchmark.asked("small: clean 1", sets, 20)
    assert (clean["right"], clean["telling"], clean["named"]) == (True, [], [])
    assert json.loads(json.dumps(line))["reads"] == line["reads"]
    assert "| clipping |" in benchmark.table([line])[-1]
    assert line["network"] == clean["network"] == []


class Knows:
    """In a network's place: it knows every source."""

    def of_cue(self, data, name, seed):
        return Answers(name, "network", np.eye(2)[data.images.source[data.rows("test")]], 0.48, 7.0), None


def test_a_network_has_a_figure_of_its_own_and_names_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(120):
        PIL.Image.fromarray(photo(seed, (32, 32), grain=9.0)).save(folder / f"{seed}.png")
    few = {name: find("cue", name)() for name in ("mean_colour", "whole_image")}
    monkeypatch.setattr(reading, "every_cue", lambda: few)
    monkeypatch.setattr(benchmark, "HALF", {"small": 60, "large": 60})
    sets = {"small": benchmark.Pictures(f"{folder}/", "small")}
    line = benchmark.asked("small: clean 1", sets, 20, nets=Knows())
    ((accuracy, null, p, seconds),) = line["network"]
    assert (accuracy, null, seconds) == (1.0, 0.48, 7.0)
    assert p < 0.01
    assert line["rows"].keys() == few.keys()
    assert line["rows"]["whole_image"][0] < 1
    assert line["named"] == []


def test_a_pair_that_stands_in_the_file_is_not_asked_again(tmp_path, monkeypatch, capsys):
    data = write_folder(tmp_path / "data", per_class=2)
    line = {"right": True, "families": [], "named": [], "reads": 0.0, "telling": [], "cpu": 1.0}
    calls = []

    def asked(name, sets, number, seed, nets):
        calls.append((name, number))
        return line | {
            "pair": name,
            "seed": seed,
            "network": [[0.9, 0.5, 0.01, 7.0]] * (nets is not None),
            "right": len(calls) == 1,
        }

    monkeypatch.setattr(benchmark, "asked", asked)
    argv = ["--small", f"{data}/", "--large", f"{data}/", "--out", str(tmp_path / "a.jsonl"), "--pairs", "clean 1"]
    assert benchmark.main(argv) == 0
    assert calls == [
        (f"{size}: clean {n}", place)
        for size, n, place in (("small", 1, 20), ("small", 10, 29), ("large", 1, 30), ("large", 10, 39))
    ]
    assert benchmark.main([*argv[:-1], "clean"]) == 0
    assert len(calls) == len(set(calls)) == 20
    assert "clean: 1 of 20 right" in capsys.readouterr().out
    assert benchmark.main([*argv, "--seed", "1"]) == 0
    assert len(calls) == 24  # of another seed the same pair is asked
    capsys.readouterr()
    assert benchmark.main([*argv, "--seed", "1", "--network"]) == 0
    assert len(calls) == 28  # and with a network
    assert "| 90.0, 50.0, 7 s |" in capsys.readouterr().out


def test_another_seed_cuts_other_halves(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(120):
        PIL.Image.fromarray(photo(seed, (32, 32))).save(folder / f"{seed}.png")
    monkeypatch.setattr(reading, "every_cue", lambda: {"mean_colour": find("cue", "mean_colour")()})
    monkeypatch.setattr(benchmark, "HALF", {"small": 60, "large": 60})
    cut = []
    monkeypatch.setattr(
        benchmark.Pictures,
        "write",
        lambda self, place, indices, *rest: cut.append(set(indices)) or write(self, place, indices, *rest),
    )
    sets = {"small": benchmark.Pictures(f"{folder}/", "small")}
    assert [benchmark.asked("small: clean 1", sets, 20, seed)["seed"] for seed in (0, 0, 1)] == [0, 0, 1]
    assert cut[0] == cut[2] != cut[4]
    assert not cut[4] & cut[5]
