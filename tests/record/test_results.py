"""Results name their own columns: a figure is declared once, and every table has it with its unit and better side."""

import dataclasses

import pytest

from lens.grids import table as grid_table
from lens.record import results
from lens.record.results import figure


@dataclasses.dataclass(frozen=True)
class Texture(results.Result):
    """A measurement that nobody else has heard of."""

    place = ("texture",)
    bias: float | None = figure("texture_bias", higher_is_better=False)
    level: float | None = figure(unit="dB", interval=False, validated=False)


def test_a_new_measurement_touches_no_table(monkeypatch):
    before = grid_table.measured({})
    monkeypatch.setattr(results, "RESULTS", [*results.RESULTS, Texture])
    row = grid_table.measured({"texture": {"bias": 0.25, "bias_ci": [0.2, 0.3], "val_bias": 0.26, "level": 31.5}})
    new = {name: row[name] for name in row if name not in before}
    assert new == {
        "texture_bias": 0.25, "texture_bias_low": 0.2, "texture_bias_high": 0.3, "val_texture_bias": 0.26, "level": 31.5,
    }  # fmt: skip
    assert grid_table.is_share("val_texture_bias", [])
    assert not grid_table.is_share("level", [])
    assert grid_table.higher_is_better("texture_bias", []) is False
    assert grid_table.higher_is_better("level", []) is None


def test_no_two_figures_share_a_column():
    columns = [one.column for one in results.every()]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize(
    ("column", "key", "unit"),
    [("val_knn", "knn", "share"), ("psnr_measured", "psnr", "dB"), ("downstream_stl10", "linear", "share"),
     ("val_probe_lensed_a", "lensed", "share"), ("val_images", "images", "count"), ("downstream_chance", "chance", "share")],
)  # fmt: skip
def test_a_column_is_known_by_its_figure(column, key, unit):
    one = results.described(column)
    assert (one.key, one.unit) == (key, unit)


def test_a_further_judge_is_better_lower_and_what_is_no_column_is_none():
    assert results.described("source_forensic").higher_is_better is False
    assert results.described("nonsense") is None


def test_a_table_is_empty_of_a_proof_that_nobody_made():
    assert "source_raw" not in grid_table.measured({})
    assert grid_table.measured({})["downstream"] is None
