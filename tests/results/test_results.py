"""Results name their own columns: a figure is declared once, and files and tables have it with its unit and better side."""

import dataclasses
import json

import pyarrow.parquet
import pytest
from tiny import SUMMARY

from lens.grids import table as grid_table
from lens.record import schemas
from lens.results import columns
from lens.results.figure import Estimate, figure
from lens.results.removal import Removal
from lens.results.result import Result, optional
from lens.results.summary import Summary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texture(Result):
    """A measurement that nobody else has heard of."""

    bias: Estimate | None = figure("texture_bias", higher_is_better=False)
    level: float | None = figure(unit="dB", interval=False, validated=False)
    crops: int = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wider(Summary):
    """A summary that has it."""

    texture: Texture | None = optional()


READ = {"balanced_accuracy": 0.9, "ci": [0.8, 0.95], "val_balanced_accuracy": 0.91}
PROOF = {
    "verdict": "removed", "chance": 0.5, "raw": READ, "lensed": READ | {"grain": 0.4, "grain_ci": [0.3, 0.5], "val_grain": 0.45},
    "judges": {"grain": "a new judge"}, "psnr_planted": None, "downstream": None, "frozen": None, "probes": {},
}  # fmt: skip


@pytest.fixture
def wider(monkeypatch):
    """A summary with the new measurement, as every table sees it."""
    monkeypatch.setattr(columns, "Summary", Wider)
    found = {"bias": 0.25, "bias_ci": [0.2, 0.3], "val_bias": 0.26, "level": 31.5}
    return Wider.of_json(SUMMARY | {"texture": found})


def test_a_new_measurement_touches_no_table(wider):
    before = grid_table.measured(dataclasses.replace(wider, texture=None))
    row = grid_table.measured(wider)
    new = {name: row[name] for name in row if name not in before}
    assert new == {
        "texture_bias": 0.25, "texture_bias_low": 0.2, "texture_bias_high": 0.3, "val_texture_bias": 0.26, "level": 31.5,
    }  # fmt: skip
    assert grid_table.is_share("val_texture_bias", [])
    assert not grid_table.is_share("level", [])
    assert grid_table.higher_is_better("texture_bias", []) is False
    assert grid_table.higher_is_better("level", []) is None


def test_a_new_measurement_touches_no_schema():
    schemas.checked(schemas.of(Wider), json.dumps(SUMMARY | {"texture": {"bias": 0.5, "bias_ci": [0.4, 0.6]}}))
    for key, value in (
        ("bias", "x"),
        ("bias_ci", [1]),
        ("val_bias", []),
        ("level", "x"),
        ("crops", -1),
        ("crops", None),
    ):
        with pytest.raises(ValueError, match=rf"^texture\.{key}"):
            schemas.checked(schemas.of(Wider), json.dumps(SUMMARY | {"texture": {key: value}}))


def test_what_is_written_is_read_back_with_what_nobody_knows(wider):
    one = dataclasses.replace(wider, more={"later": [1]}, texture=dataclasses.replace(wider.texture, more={"x": 2}))
    content = json.loads(json.dumps(one.to_json()))
    assert content["texture"] == {
        "bias": 0.25, "bias_ci": [0.2, 0.3], "val_bias": 0.26, "level": 31.5, "crops": 9, "x": 2
    }  # fmt: skip
    assert content["later"] == [1]
    assert (content["task"], content["match"]) == ("rotation", None)
    assert "removal" not in content
    assert Wider.of_json(content) == one


def test_what_was_not_measured_is_no_figure_that_is_none():
    texture = Texture(bias=Estimate(None), crops=3)
    assert texture.to_json() == {"bias": None, "bias_ci": None, "level": None, "crops": 3}
    assert Texture.of_json(texture.to_json()) == texture
    assert "bias" not in Texture().to_json()
    assert Texture.of_json({"level": 3.0}).bias is None


def test_a_further_judge_has_its_figures_under_its_key():
    proof = Removal.of_json(PROOF)
    assert proof.lensed.judges == {"grain": Estimate(0.4, [0.3, 0.5], 0.45)}
    assert proof.to_json()["lensed"] == PROOF["lensed"]
    row = grid_table.measured(Summary.of_json(SUMMARY | {"removal": PROOF}))
    judged = {name: row[name] for name in row if "grain" in name}
    assert judged == {
        "source_grain": 0.4, "source_grain_low": 0.3, "source_grain_high": 0.5, "val_source_grain": 0.45
    }  # fmt: skip


def test_a_proof_is_about_the_source_or_says_why_not():
    def read(proof):
        return schemas.summary(json.dumps(SUMMARY | {"removal": proof})).removal

    assert read(PROOF).to_json() == PROOF
    for name in ("verdict", "chance", "raw", "lensed"):
        with pytest.raises(ValueError, match=rf"removal\.{name}: is missing"):
            read({key: value for key, value in PROOF.items() if key != name})
        with pytest.raises(ValueError, match=r"^removal"):
            read(PROOF | {name: None})
    rest = {key: PROOF[key] for key in ("psnr_planted", "downstream", "frozen", "probes")}
    asked = {"source": {"none": "there is one source"}}
    assert read(rest | asked).to_json() == rest | asked
    assert read(PROOF | asked).lensed is None  # a stranger's: nothing is read of what says that it was not asked
    row = grid_table.measured(Summary.of_json(SUMMARY | {"removal": rest | asked}))
    assert row.get("source_lensed") is None
    assert "class_lensed" in row


ANSWERED = {
    "verdict": "not removed", "chance": 0.25, "judges": {"forensic": "trees"}, "raw": READ,
    "lensed": READ | {"forensic": 0.3, "forensic_ci": [0.2, 0.4], "val_forensic": 0.35},
}  # fmt: skip
"""What a file says of a question beside the source."""
CUE = {"classes": 2, "native": True, "by_theta": {}, "change": {"without": 0.1, "with": 0.1}}


def test_what_is_asked_beside_the_source_has_columns_of_its_own():
    asked = {
        "cue": {"planted": {"arrow": CUE | {"presence": ANSWERED, "theta": {"none": "one"}}}},
        "question": ANSWERED,
    }
    summary = schemas.summary(json.dumps(SUMMARY | {"removal": PROOF | asked}))
    row = grid_table.measured(summary)
    for name in ("presence", "question"):
        found = {column: value for column, value in row.items() if name in column and "verdict" not in column}
        ends = {"raw": (0.9, 0.8, 0.95, 0.91), "lensed": (0.9, 0.8, 0.95, 0.91), "forensic": (0.3, 0.2, 0.4, 0.35)}
        assert found == {
            key: value
            for kind, values in ends.items()
            for key, value in zip(
                (f"{name}_{kind}", f"{name}_{kind}_low", f"{name}_{kind}_high", f"val_{name}_{kind}"),
                values,
                strict=True,
            )
        }
    assert "theta_raw" not in row
    assert (row["source_raw"], row["source_verdict"], row["question_verdict"]) == (0.9, "removed", "not removed")
    assert grid_table.higher_is_better("question_lensed", []) is False
    assert grid_table.higher_is_better("presence_forensic", []) is False
    assert "question_raw" not in grid_table.measured(Summary.of_json(SUMMARY | {"removal": PROOF}))


def test_of_several_cues_each_has_its_column():
    """The plain column is the first's, as that of several probes is."""
    second = ANSWERED | {"lensed": ANSWERED["lensed"] | {"balanced_accuracy": 0.6, "forensic": 0.7}}
    planted = {"watermark": CUE | {"presence": ANSWERED}, "jpeg": CUE | {"presence": second}}
    row = grid_table.measured(schemas.summary(json.dumps(SUMMARY | {"removal": PROOF | {"cue": {"planted": planted}}})))
    for column, first, other in (("presence_lensed", 0.9, 0.6), ("presence_forensic", 0.3, 0.7)):
        assert (row[column], row[f"{column}_watermark"], row[f"{column}_jpeg"]) == (first, first, other)
        assert grid_table.higher_is_better(f"{column}_jpeg", []) is False
    assert row["presence_verdict_jpeg"] == "not removed"
    written = grid_table.files([row], [])["table.parquet"]
    kinds = pyarrow.parquet.read_schema(pyarrow.BufferReader(written))
    for column, kind in (
        ("presence_verdict_jpeg", "string"),
        ("presence_lensed_jpeg", "double"),
        ("val_images", "int64"),
    ):
        assert str(kinds.field(column).type) == kind


@pytest.mark.parametrize("place", ["question", "cue.planted.arrow.presence", "cue.planted.arrow.theta"])
def test_a_question_beside_the_source_is_checked_as_the_source_is(place):
    def read(part):
        inner = place.rpartition(".")[2]
        beside = {"question": part} if inner == place else {"cue": {"planted": {"arrow": CUE | {inner: part}}}}
        return schemas.summary(json.dumps(SUMMARY | {"removal": PROOF | beside}))

    assert read(ANSWERED).to_json()["removal"] != PROOF
    assert read({"none": "nobody was asked"}).removal.raw is not None
    for name in ("verdict", "chance", "raw", "lensed"):
        with pytest.raises(ValueError, match=rf"removal\.{place}\.{name}: is missing"):
            read({key: value for key, value in ANSWERED.items() if key != name})
    with pytest.raises(ValueError, match=rf"removal\.{place}\.lensed\.other: is missing"):
        read(ANSWERED | {"judges": {"other": "a judge"}})
    with pytest.raises(ValueError, match=rf"removal\.{place}\.raw"):
        read(ANSWERED | {"raw": 0.9})


def test_no_two_figures_share_a_column():
    names = [one.column for one in columns.every()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("column", "key", "unit"),
    [("val_knn", "knn", "share"), ("psnr_measured", "psnr", "dB"), ("downstream_stl10", "linear", "share"),
     ("val_probe_lensed_a", "lensed", "share"), ("val_images", "images", "count"), ("downstream_chance", "chance", "share")],
)  # fmt: skip
def test_a_column_is_known_by_its_figure(column, key, unit):
    one = columns.described(column)
    assert (one.key, one.unit) == (key, unit)


def test_a_further_judge_is_better_lower_and_what_is_no_column_is_none():
    assert columns.described("source_forensic").higher_is_better is False
    assert columns.described("nonsense") is None


def test_a_table_is_empty_of_a_proof_that_nobody_made():
    row = grid_table.measured(Summary.of_json(SUMMARY))
    assert "source_raw" not in row
    assert row["downstream"] is None
    always = [one.column for one in columns.every(only_always=True)]
    assert "source_raw" not in always
    assert "match_ratio" in always
