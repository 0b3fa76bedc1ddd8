"""Folders told apart: a planted cue by the right row, a clean pair by none; what is refused; what is kept and not done twice."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
from cue_pictures import photo

from lens import api, audit
from lens.auditing import answers, keeping, networks, reading
from lens.auditing.asked import AuditSettings
from lens.base.errors import BadInput
from lens.figures import audit as figures
from lens.measuring.judges import Recipe
from lens.measuring.trees import Trees
from lens.results.audit import Audit

CUES = ("size", "header", "mean_colour", "grey", "whole_image")
SIZE = (40, 48)


def folder(place, seeds, treat=lambda pixels: pixels, classes=1):
    """Pictures of random smooth colours as PNG, in `classes` subfolders where there are several."""
    for number, seed in enumerate(seeds):
        inner = place / f"class{number % classes}" if classes > 1 else place
        inner.mkdir(parents=True, exist_ok=True)
        pixels = photo(seed, SIZE)
        if classes > 1:  # a class is where a square is, and how bright
            pixels[10:30, 12 * (number % classes) : 12 * (number % classes) + 12] = 100 * (number % classes)
        PIL.Image.fromarray(treat(pixels)).save(inner / f"{number:03d}.png")
    return place


def redder(pixels):
    return np.clip(pixels + np.array([45, 0, -45]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("folders")
    folder(place / "plain", range(110))
    folder(place / "clean", range(1000, 1110))
    folder(place / "red", range(2000, 2110), redder)
    return place


@pytest.fixture(autouse=True)
def _quick(monkeypatch, request):
    """Few cues, few trees, a network of a few steps; nothing is drawn but in tests marked `pictures`."""
    if not request.node.get_closest_marker("pictures"):
        for name in ("ladder_picture", "extremes_picture", "confusion_picture", "where_picture"):
            monkeypatch.setattr(figures, name, lambda *drawn: b"")
    every = reading.every_cue()
    monkeypatch.setattr(reading, "every_cue", lambda: {name: cue for name, cue in every.items() if name in CUES})
    monkeypatch.setattr(answers, "TREES", Trees(most=20))
    monkeypatch.setattr(networks, "QUICK", Recipe(steps=10, least=5, every=5, batch=8))
    monkeypatch.setattr(networks, "FULL", Recipe(steps=4, least=2, every=2, batch=8))


def called(capsys, *words):
    capsys.readouterr()
    code = audit.main([*map(str, words), "--threads", "1", "--image_size", "16", "--device", "cpu"])
    return code, capsys.readouterr()


def refused(capsys, *words):
    code, shown = called(capsys, *words)
    assert code == 2
    assert shown.err.splitlines()[-1].startswith("lens: error: ")
    return shown.err.splitlines()[-1]


def found(place):
    return Audit.of_json(json.loads((place / "audit.json").read_text()))


def rows(result):
    return {row.name: row for row in result.rows if row.judge == "trees"}


@pytest.mark.pictures
def test_a_planted_cast_is_told_by_the_rows_of_colour_and_fails_where_asked(folders, tmp_path, capsys):
    out = tmp_path / "out"
    code, shown = called(capsys, folders / "plain", folders / "red", "--out", out, "--fail_above", "0.6")
    assert code == 3
    result = found(out)
    told = rows(result)
    assert told["mean_colour"].significant
    assert told["mean_colour"].accuracy > 0.85
    assert told["whole_image"].significant
    assert not told["size"].significant
    assert told["size"].accuracy == 0.5
    assert abs(told["mean_colour"].null - 0.5) < 0.2
    assert told["mean_colour"].excess == pytest.approx(2 * told["mean_colour"].accuracy - 1)
    assert any(line.startswith("mean colour[0], median:") for line in told["mean_colour"].says)
    assert any(line.startswith("red: levels ") for line in told["mean_colour"].says)  # its ends have moved
    assert (
        result.levels[1].lowest[0] - result.levels[0].lowest[0],
        result.levels[0].highest[2] - result.levels[1].highest[2],
    ) >= (40, 40)
    assert "mean colour" in " ".join(result.verdict)
    assert "colour and exposure" in " ".join(result.verdict)
    assert result.verdict[0] in " ".join(shown.out.split())
    assert [len(names) for names in told["mean_colour"].extremes] == [4, 4]
    assert sorted(file.name for file in out.iterdir()) == [
        "audit.json", "audit.md", "audit.npz", "audit.parquet", "audit.png", "confusion.png", "extremes.png",
    ]  # fmt: skip
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(out / "audit.parquet").to_pylist()
    assert [row["name"] for row in table] == [row.name for row in result.rows]
    assert table[0]["ci_low"] == pytest.approx(result.rows[0].balanced_accuracy.interval[0])
    written = json.loads((out / "audit.json").read_text())["rows"][0]
    assert {"name", "kind", "balanced_accuracy", "ci", "auc", "excess", "p", "null"} <= written.keys()


def test_a_clean_pair_has_no_significant_row_and_does_not_fail(folders, tmp_path, capsys):
    code, _ = called(capsys, folders / "plain", folders / "clean", "--out", tmp_path / "out", "--fail_above", "0.5")
    assert code == 0
    result = found(tmp_path / "out")
    assert not [row.name for row in result.rows if row.significant]
    assert result.verdict[0].startswith("Nothing that was asked tells plain, clean apart")
    assert not (tmp_path / "out" / "extremes.png").exists()


def test_three_sources_one_of_which_is_told(folders, tmp_path, capsys):
    assert called(capsys, *(folders / name for name in ("plain", "clean", "red")), "--out", tmp_path / "out")[0] == 0
    row = rows(found(tmp_path / "out"))["mean_colour"]
    assert found(tmp_path / "out").chance == pytest.approx(1 / 3)
    assert row.significant
    assert row.confusion[2][2] > 0.8
    assert row.confusion[0][2] < 0.2


def test_a_copy_in_another_source_is_listed_and_in_one_split(folders, tmp_path, capsys):
    twin = shutil.copytree(folders / "clean", tmp_path / "twin")
    PIL.Image.open(folders / "plain" / "007.png").save(twin / "copy.jpg", quality=90)
    code, shown = called(capsys, folders / "plain", twin, "--out", tmp_path / "out")
    assert code == 0
    pair = found(tmp_path / "out").duplicates
    assert [(one["first"]["name"], one["second"]["name"]) for one in pair] == [("007.png", "copy.jpg")]
    assert shown.out.index("1 pair of near-duplicates") > 0


def test_an_unreadable_image_is_skipped_and_counted(folders, tmp_path, capsys):
    broken = shutil.copytree(folders / "clean", tmp_path / "broken")
    (broken / "000.png").write_bytes(b"no picture")
    code, shown = called(capsys, folders / "plain", broken, "--out", tmp_path / "out")
    assert code == 0
    assert "skipped 1 unreadable image" in shown.err
    assert [one["name"] for one in found(tmp_path / "out").skipped] == ["000.png"]


def test_the_full_budget_asks_networks_of_every_view_and_computes_nothing_twice(folders, tmp_path, capsys, monkeypatch):
    words = [folders / "plain", folders / "red", "--budget", "full", "--out", tmp_path / "out"]
    begun = []
    train, grow = networks.trained, answers.grow

    def counted(*arguments, **settings):
        if len(begun) == 3:
            raise KeyboardInterrupt
        begun.append("network")
        return train(*arguments, **settings)

    monkeypatch.setattr(networks, "trained", counted)
    code, shown = called(capsys, *words)
    assert code == 130
    assert "networks: 3 of 3 rows to do" in shown.err
    assert not (tmp_path / "out" / "audit.json").exists()
    begun.clear()
    monkeypatch.setattr(networks, "trained", lambda *a, **s: begun.append("network") or train(*a, **s))
    monkeypatch.setattr(answers, "grow", lambda *a, **s: begun.append("trees") or grow(*a, **s))
    code, shown = called(capsys, *words)
    assert code == 0
    assert "networks: 2 of 3 rows to do" in shown.err
    assert begun == ["network"] * 4  # two views more, each with its null
    first = (tmp_path / "out" / "audit.json").read_text()
    names = [row.name for row in found(tmp_path / "out").rows if row.judge == "network"]
    assert names == ["mean_colour", "grey", "whole_image"]
    begun.clear()
    assert called(capsys, *words)[0] == 0
    assert begun == []
    again = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert again["rows"] == json.loads(first)["rows"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    place = tmp_path_factory.mktemp("labelled")
    folder(place / "plain", range(120), classes=3)
    folder(place / "red", range(2000, 2120), redder, classes=3)
    return place


def test_labels_ask_within_classes_and_across_sources(labelled, tmp_path, capsys):
    assert called(capsys, labelled / "plain", labelled / "red", "--labels", "--out", tmp_path / "out")[0] == 0
    result = found(tmp_path / "out")
    inner = rows(result)["mean_colour"].within_classes
    assert inner["significant"]
    assert inner["balanced_accuracy"] > 0.8
    assert not rows(result)["size"].within_classes["significant"]
    assert result.across.classes == ["class0", "class1", "class2"]
    accuracy = np.array(result.across.accuracy)
    assert accuracy.diagonal().min() > 0.5
    assert result.across.drop[0] == pytest.approx((accuracy[0, 0] - accuracy[0, 1]) / accuracy[0, 0])
    assert "within one class" in " ".join(result.verdict)


def test_a_different_mix_of_classes_is_told_without_labels_and_is_no_cue_within_them(tmp_path, capsys):
    folder(tmp_path / "one", range(240), classes=3)
    folder(tmp_path / "other", range(1000, 1240), classes=3)
    for number in range(60, 240, 3):  # class0 is rare in one, class1 in the other, class2 in both
        (tmp_path / "one" / "class0" / f"{number:03d}.png").unlink()
        (tmp_path / "other" / "class1" / f"{number + 1:03d}.png").unlink()
        for name in ("one", "other"):
            (tmp_path / name / "class2" / f"{number + 2:03d}.png").unlink()
    assert called(capsys, tmp_path / "one", tmp_path / "other", "--out", tmp_path / "out")[0] == 0
    result = found(tmp_path / "out")
    assert rows(result)["whole_image"].significant
    assert any("different mixes of classes" in note for note in result.notes)
    words = [tmp_path / "one", tmp_path / "other", "--labels", "--out", tmp_path / "again"]
    assert called(capsys, *words)[0] == 0
    within = {name: row.within_classes["significant"] for name, row in rows(found(tmp_path / "again")).items()}
    assert not any(within.values())


def test_bad_input_is_one_line_and_leaves_nothing(folders, labelled, tmp_path, capsys):
    plain, clean, out = folders / "plain", folders / "clean", tmp_path / "out"
    few = folder(tmp_path / "few", range(10))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for number in range(60):
        (damaged / f"{number}.png").write_bytes(b"no picture")
    inner = shutil.copytree(clean, tmp_path / "around" / "inner").parent
    patients = tmp_path / "patients"
    patients.mkdir()
    for number, file in enumerate(sorted(clean.iterdir())):
        shutil.copy(file, patients / f"p{number % 4}_{number}.png")
    cases = {
        (plain,): "an audit tells two sources or more apart, and 1 is given",
        (plain, plain): f"the audit names {plain} twice",
        (inner, inner / "inner"): "lies in",
        (plain, shutil.copytree(plain, tmp_path / "copy")): "110 of the 110 images",
        (plain, few): f"{few} has 10 images that can be read: an audit needs 50",
        (plain, damaged): f"none of the 60 images of {damaged} can be read",
        (plain, tmp_path / "nowhere"): "does not exist",
        (plain, clean, "--labels"): f"--labels: {plain} has no classes",
        (plain, clean, "--group_by", "patient(.)"): "--group_by 'patient(.)' finds nothing in any name",
        (patients, plain, "--group_by", r"^p(\d)_|$"): f"{patients} has 4 groups of images",
        (plain, clean, "--fail_above", "60"): "--fail_above is 60",
        (plain, clean, "--images", "20"): "--images is 20",
        (plain, clean, "--image_size", "8"): "--image_size is 8",
        (plain, clean, "--seed", "-1"): "--seed is -1",
        (plain, clean, "--seed", str(2**32)): f"--seed is {2**32}",
        ("", clean): "source 1 of 2 is ''",
    }  # fmt: skip
    for words, line in cases.items():
        size = [] if "--image_size" in words else ["--image_size", "16"]
        capsys.readouterr()
        assert audit.main([*map(str, words), "--out", str(out), "--threads", "1", *size]) == 2, words
        shown = capsys.readouterr().err.splitlines()[-1]
        assert line in shown, shown
        assert not out.exists()


def test_an_own_folder_of_another_audit_is_left_alone(folders, tmp_path, capsys):
    (tmp_path / "audit.json").write_text(json.dumps({"sources": ["./a", "./b"]}))
    assert "is of ./a, ./b: choose another --out" in refused(
        capsys, folders / "plain", folders / "red", "--out", tmp_path
    )
    line = refused(capsys, folders / "plain", folders / "red", "--out", folders / "plain" / "here")
    assert "whose images are audited" in line


def test_a_folder_of_a_strangers_files_is_left_alone_and_rows_of_an_interrupted_audit_are_not_foreign(tmp_path):
    def planned(out):
        return keeping.planned(AuditSettings(source=["./a", "./b"], out=str(out)))

    out = tmp_path / "pictures"
    out.mkdir()
    (out / ".lens-0123.tmp").touch()  # what a killed process has left
    assert planned(out) == out
    for name in ("rows.png", "audit.md"):
        (out / name).write_text("mine")
        with pytest.raises(BadInput, match=f"pictures holds '{name}' and no audit: choose another --out"):
            planned(out)
    (out / "rows").mkdir()
    (out / "rows" / "grey_(network).npz").touch()
    assert planned(out) == out
    shutil.rmtree(out / "rows")
    (out / "audit.json").write_text(json.dumps({"sources": ["./a", "./b"]}))
    assert planned(out) == out


def test_classes_that_do_not_match_are_refused(labelled, tmp_path, capsys):
    other = shutil.copytree(labelled / "red", tmp_path / "other")
    for name in ("class0", "class1", "class2"):
        (other / name).rename(other / f"kind {name}")
    line = refused(capsys, labelled / "plain", other, "--labels", "--out", tmp_path / "out")
    assert "--labels: 0 classes with 9 images or more in every source, of 0 that are shared" in line


def test_python_users_get_a_data_frame_and_nothing_is_written(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = api.audit(folders / "plain", folders / "red", image_size=16, threads=1, device="cpu")
    row = frame[(frame.name == "mean_colour") & (frame.judge == "trees")].iloc[0]
    assert row.significant
    assert 0.5 < row.ci_low < row.balanced_accuracy <= row.ci_high
    assert frame.attrs["chance"] == 0.5
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="audit does not take 'image': did you mean 'images'"):
        api.audit(folders / "plain", folders / "red", image=3)


def test_help_lists_the_cues_and_no_task(capsys):
    with pytest.raises(SystemExit):
        audit.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "mean_colour (The mean colour of an image: three numbers.)" in told
    assert "rotation (" not in told
    assert "--fail_above" in told


def test_every_cue_of_the_ladder_is_in_its_order_and_the_settings_are_told_of():
    names = list(reading.every_cue())
    assert names[0] == "size"
    assert names[-1] == "whole_image"
    assert AuditSettings(source=["a", "b"]).images == 2000
