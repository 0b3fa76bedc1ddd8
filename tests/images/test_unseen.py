"""Held-out images that another run has learnt from: known by place and by content, told, left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pictures import load, load_uncached, write_folder
from tiny import TINY, fit

from lens import compare, probe, train
from lens.base.errors import BadInput
from lens.images import divide, unseen
from lens.images.data import Images
from lens.images.training_set import training_images
from lens.measuring import transfer
from lens.measuring.probes import load_probes
from lens.players import finished
from lens.settings.parsing import parse

SHORT = ["--steps", "1", "--test_images", "8", "--probe_images", "20", "--val_every", "9", "--checkpoint_every", "9"]


def settings(*words):
    return parse([*fit([*TINY]), *map(str, words)], "lens.train").settings


def split_names(images: Images, *splits: str) -> set[str]:
    return {name.rpartition("/")[2] for name, split in zip(images.names, images.split, strict=True) if split in splits}


def test_a_folder_inside_another_is_known_by_its_files(tmp_path):
    """Below another root a file has another name, and so another split: half of the test images were trained on."""
    folder = write_folder(tmp_path / "photos", 40, classes=1)
    for loaded in (
        lambda key: load([key], tmp_path, size=36),
        lambda key: load_uncached([key], tmp_path / "no", size=36),
    ):
        whole, part = loaded(f"{folder}/"), loaded(f"{folder}/class0/")
        wrong = split_names(part, "test") & split_names(whole, "train", "val")
        assert wrong  # or there would be nothing to test
        assert {part.names[i] for i in np.flatnonzero(unseen.standing(part, whole) != "")} == split_names(
            whole, "train", "val"
        )
        kept = unseen.without_learnt(part, whole, "runs/a")
        assert split_names(kept, "test") == split_names(part, "test") - wrong
        assert (kept.split == "train").sum() == (part.split == "train").sum()
        assert (kept.split == unseen.LEFT_OUT).any()


def test_a_copy_is_known_by_its_content(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", 40, classes=1)
    copy = renamed(folder, tmp_path / "elsewhere")
    trained, other = load([f"{folder}/"], tmp_path, size=36), load([f"{copy}/"], tmp_path, size=36)
    content = dict(zip(trained.content, trained.split, strict=True))
    wrong = [i for i in other.indices("test") if content[other.content[i]] != "test"]
    assert wrong
    kept = unseen.without_learnt(other, trained, "runs/a")
    assert set(kept.indices("test")) == set(other.indices("test")) - set(wrong)
    said = capsys.readouterr().err
    assert f"runs/a has learnt from {len(wrong)} of {len(other.indices('test'))} test images of {copy}/" in said


def test_a_run_s_own_test_images_stay_and_a_like_division_is_left_alone(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", 40, classes=1)
    images = load([f"{folder}/"], tmp_path, size=36)
    test, train_image = images.indices("test")[0], images.indices("train")[0]
    images.content[test] = images.content[train_image]  # the data set itself holds a picture twice
    assert (unseen.standing(images, images)[images.indices("test")] == "").all()
    assert unseen.without_learnt(images, images, "runs/a") is images
    assert capsys.readouterr().err == ""


def test_nothing_left_to_ask_about_is_refused(tmp_path):
    folder = write_folder(tmp_path / "photos", 40, classes=1)
    images = load([f"{folder}/"], tmp_path, size=36)
    split = np.where(images.split == "test", "train", images.split)
    trained = load([f"{folder}/"], tmp_path, size=36)
    trained.split[:] = split
    with pytest.raises(BadInput, match=r"runs/a has learnt from all .* test images of .*nothing is left to ask about"):
        unseen.without_learnt(images, trained, "runs/a")


def test_the_same_images_under_another_spelling_are_the_same(tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "photos", 40)
    monkeypatch.chdir(tmp_path)
    one, other = load([f"{folder}"], tmp_path, size=36), load(["./photos/"], tmp_path, size=36)
    assert unseen.without_learnt(other, one, "runs/a") is other
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("task", ["rotation", "labels"])
def test_sources_that_overlap_are_refused_for_every_task(tmp_path, task):
    folder = write_folder(tmp_path / "photos", 20)
    for keys, words in (
        ([f"{folder}/", f"{folder}/class0/"], "lies in"),
        ([f"{folder}/", f"{folder}"], "twice"),
    ):
        with pytest.raises(BadInput, match=words):
            training_images(settings("--task", task, "--data", *keys))


def test_copies_in_two_sources_fall_into_one_split_for_every_task(tmp_path):
    folder = write_folder(tmp_path / "a", 30, classes=1)
    copy = shutil.copytree(folder, tmp_path / "b")
    for number, file in enumerate(sorted(copy.rglob("*.png"))[:10]):
        file.rename(file.with_name(f"scan{number}.png"))
    for file in sorted(copy.rglob("*.png"))[:15]:
        file.unlink()
    images = load([f"{folder}/", f"{copy}/"], tmp_path, size=36)
    splits = {}
    for content, split in zip(images.content, images.split, strict=True):
        splits.setdefault(content, set()).add(split)
    assert any(len(of_one) > 1 for of_one in splits.values())
    found = divide.divided(images, by_source=False, pseudo_sources=None, judge_fraction=0.0, seed=0)
    after = {}
    for content, split in zip(found.content, found.split, strict=True):
        after.setdefault(content, set()).add(split)
    assert all(len(of_one) == 1 for of_one in after.values())
    assert "15 images of one source occur in another too" in found.describe()
    assert found.duplicates is None


def renamed(folder: Path, to: Path) -> Path:
    """A copy with other names, so that the images fall into other splits."""
    copy = shutil.copytree(folder, to)
    for number, file in enumerate(sorted(copy.rglob("*.png"))):
        file.rename(file.with_name(f"scan{number}.png"))
    return copy


def test_a_probe_leaves_out_what_the_run_learns_from(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", 60)
    copy = renamed(folder, tmp_path / "elsewhere")
    own = settings("--data", f"{folder}/")
    images = training_images(own)
    (found,) = load_probes(own.data, [f"{copy}/"], images)
    by_content = dict(zip(images.content, images.split, strict=True))
    assert {by_content[found.images.content[i]] for i in found.images.indices("test")} == {"test"}
    assert "this run has learnt from" in capsys.readouterr().err


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """Two lens runs on the same images, of which the second keeps groups of ten together, so that other images are its test."""
    folder = tmp_path_factory.mktemp("divided")
    photos = write_folder(folder / "photos", 60)
    for name, words in (("a", ()), ("b", ("--group_by", r"class\d/\d\d"))):
        argv = [*TINY, "--data", f"{photos}/", "--out", str(folder / name), *SHORT, *words]
        assert train.main(fit(argv)) == 0
    return folder / "a", folder / "b"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_transfer_asks_about_images_that_neither_run_has_learnt_from(divided, tmp_path, capsys, order, monkeypatch):
    asked = {}
    whole = transfer.asked_of

    def watched(one, other, index):
        asked.setdefault(one.settings.data.group_by, set()).update(one.images.names[i] for i in index)
        return whole(one, other, index)

    monkeypatch.setattr(transfer, "asked_of", watched)
    first, second = (divided[n] for n in order)
    assert compare.main([str(first), str(second), "--transfer", "--out", str(tmp_path / "t"), "--threads", "1"]) == 0
    splits = {}
    for run in divided:
        one = finished.FinishedRun.of(finished.Run.open(run), [], {})
        images = one.images()
        splits[run.name] = dict(zip(images.names, images.split, strict=True))
    names = set().union(*asked.values())
    assert names
    assert all(of_run[name] == "test" for of_run in splits.values() for name in names)
    assert "has learnt from" in capsys.readouterr().err


def test_a_fusion_asks_about_images_that_no_run_has_learnt_from(divided, tmp_path, monkeypatch, capsys):
    from lens.measuring import fusion

    first, second = divided
    argv = [*TINY, "--out", str(tmp_path / "c"), *SHORT, "--seed", "1", "--group_by", r"class\d/\d\d"]
    photos = finished.Run.open(first).settings()["data"][0]
    assert train.main(fit([*argv, "--data", photos])) == 0
    seen = []
    whole = fusion.measured

    def watched(trio, one, how, name, control):
        seen.append(one.images)
        return whole(trio, one, how, name, control)

    monkeypatch.setattr(fusion, "measured", watched)
    words = [str(first), "--fuse", str(second), "--fuse_control", str(tmp_path / "c"), "--threads", "1"]
    assert probe.main(words) == 0
    (images,) = seen
    own = finished.FinishedRun.of(finished.Run.open(second), [], {}).images()
    theirs = dict(zip(own.names, own.split, strict=True))
    asked = [images.names[i] for i in images.indices("test")]
    assert asked
    assert all(theirs[name] == "test" for name in asked)
    assert f"{second} has learnt from" in capsys.readouterr().err
