"""Folders as people have them: what lies among the pictures, how the folders are laid out, and what they are called."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pictures import load, picture, write_folder

from lens.base.errors import BadInput
from lens.base.walk import walk
from lens.images import loading, opening
from lens.record.run import Run
from lens.settings.groups.data import DataSettings
from lens.sources._files import image_endings


def touch(root, *names):
    """Empty files: listing decodes nothing."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root):
    """Each image's name with its split and its class, the classes, and the notes as one text."""
    found = opening.open_source(f"{root}/").listing()
    names = {r.name: (r.split, None if r.label is None else found.classes[r.label]) for r in found.records}
    return names, list(found.classes), "; ".join(found.notes)


PETS = ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png"]
RUN = ["settings.yaml", "metrics.jsonl", "figures/edits.png"]


# --- what is nobody's picture ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ([".ipynb_checkpoints/1-checkpoint.png"], "1 hidden name (.ipynb_checkpoints/)"),
        (["cats/.ipynb_checkpoints/1-checkpoint.png"], "1 hidden name (cats/.ipynb_checkpoints/)"),
        (["cats/._1.png", "dogs/._1.png", ".x.jpg"], "3 hidden names ("),
        (["__MACOSX/cats/1.png", "cats/@eaDir/1.png/SYNOPHOTO_M.jpg"], "2 foreign folders ("),
        ([f"runs/a/{n}" for n in RUN] + [f"runs/b/{n}" for n in RUN], "2 run directories (runs/a/, runs/b/)"),
        (["sweep/grid.yaml", "sweep/lock", "sweep/accuracy.png", "sweep/table.parquet"], "1 grid directory (sweep/)"),
        (["cmp/maps.json", "cmp/maps.npz", "cmp/maps.png"], "1 comparison (cmp/)"),
        (["c/photos-36-0/images.npy", "c/photos-36-0/meta.json"], "1 image cache (c/photos-36-0/)"),
        (["cats/a.txt", "dogs/b.TXT", "Thumbs.db", "cats/README"], "4 files (2 .txt, 1 without an ending, 1 .db)"),
    ],
)
def test_what_lies_among_pictures_and_is_none_is_passed_over_and_said(tmp_path, names, note):
    found, classes, notes = listed(touch(tmp_path, *PETS, *names))
    assert list(found) == PETS
    assert classes == ["cats", "dogs"]
    assert f"passed over {note}" in notes
    assert "class folder" not in notes


def test_a_folder_of_the_persons_is_never_passed_over(tmp_path):
    # A settings.yaml alone makes no run, nor do its other files without it; what is named is read, hidden or not.
    found, classes, notes = listed(touch(tmp_path / ".hidden", *PETS, "cats/settings.yaml", "dogs/metrics.jsonl"))
    assert list(found) == PETS
    assert classes == ["cats", "dogs"]
    assert "run" not in notes


def test_the_pictures_of_a_run_are_no_data(tmp_path):
    with pytest.raises(BadInput, match=r"is one of lens's own folders \(run directory\): name a folder of pictures"):
        opening.open_source(f"{touch(tmp_path, *RUN)}/")


@pytest.mark.parametrize("ending", [".parquet", ".tar"])
def test_hidden_tables_and_shards_are_passed_over(tmp_path, ending):
    touch(tmp_path, *PETS, f".hidden{ending}", f".trash/a{ending}", f"__MACOSX/a{ending}")
    assert set(walk(str(tmp_path))) == set(PETS)
    assert list(listed(tmp_path)[0]) == PETS  # read as a folder of images, which nothing hidden makes a table


def test_a_folder_is_listed_once_however_many_links_lead_to_it(tmp_path):
    touch(tmp_path, *PETS)
    (tmp_path / "dogs" / "again").symlink_to(tmp_path / "cats")
    found, _, notes = listed(tmp_path)
    assert list(found) == PETS
    assert "1 repeated link (dogs/again/)" in notes


def test_runs_and_caches_inside_the_data_change_nothing_in_it(tmp_path, monkeypatch, capsys):
    """As `cd photos; lens train --data ./` leaves them: the next run, and the first one's record, see the same images."""
    monkeypatch.chdir(write_folder(tmp_path / "photos", 12))

    def images():
        return loading.load(
            DataSettings(data=["./"], image_size=8, cache_image_size=16, cache_dir="cache", max_bad_fraction=0)
        )

    first = images()
    assert "passed over" not in capsys.readouterr().err
    with Run.plan(Path("runs/first")) as run:
        run.create({"data": "./", "task": "rotation", "shortcut": "none"}, "python -m lens.train --data ./")
        run.record_images(first.splits(), [])
        picture(np.random.default_rng(0), 0).save(run.folder("figures") / "edits.png")
    second = images()
    said = capsys.readouterr().err
    assert "./: passed over 1 image cache (cache/photos-16-" in said
    assert "1 run directory (runs/first/)" in said
    assert second.splits() == first.splits()
    Run.open(Path("runs/first")).refuse_other_images(second.splits())


# --- endings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".avif", ".apng", ".dib", ".pbm", ".pnm", ".j2k", ".jpx", ".mpo", ".TIF"])  # fmt: skip
def test_pictures_are_listed_by_any_ending_that_pillow_gives_their_format(tmp_path, ending):
    assert ending.lower() in image_endings()
    for label in range(2):
        (tmp_path / "a" / f"class{label}").mkdir(parents=True)
        for number in range(6):
            shown = picture(np.random.default_rng(number), label)
            form = PIL.Image.registered_extensions()[ending.lower()]
            shown.save(tmp_path / "a" / f"class{label}" / f"{number}{ending}", form)
    images = load([tmp_path / "a"], tmp_path)
    assert images.classes == [["class0", "class1"]]
    assert len(images) == 12
    assert not images.skipped


def test_no_ending_of_a_program_or_a_film_is_listed():
    assert not image_endings() & {".ps", ".eps", ".pdf", ".wmf", ".emf", ".mpg", ".mpeg", ".h5", ".psd", ".svg"}


def test_a_decoder_that_this_pillow_lacks_has_no_ending(monkeypatch):
    from lens.sources import _files

    PIL.Image.init()
    known = {ending: form for ending, form in PIL.Image.EXTENSION.items() if form != "AVIF"}
    monkeypatch.setattr(PIL.Image, "registered_extensions", lambda: known)
    assert ".avif" not in _files.image_endings.__wrapped__()
    assert "AVIF" not in _files._formats.__wrapped__()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.heic", "b.heic"], "holds no image file: passed over 2 files (2 .heic)"),
        ([".a.png"], "holds no image file: passed over 1 hidden name (.a.png)"),
    ],
)
def test_a_folder_without_an_image_says_what_it_holds(tmp_path, names, message):
    with pytest.raises(BadInput) as caught:
        listed(touch(tmp_path, *names))
    assert message in str(caught.value)


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        (["birds/1.heic", "birds/2.heic"], "no image in the class folders birds (2 .heic)"),
        (["birds/"], "no image in the class folders birds (empty)"),
        (["birds/._1.png"], "no image in the class folders birds (1 hidden)"),
        (["ants/", "birds/a.txt"], "no image in the class folders ants (empty), birds (1 .txt)"),
        ([f"{i:02}/" for i in range(8)], "00 (empty), 01 (empty), 02 (empty), 03 (empty), 04 (empty) and 3 more"),
    ],
)
@pytest.mark.parametrize("split", ["", "train/"])
def test_a_class_folder_without_an_image_is_named(tmp_path, extra, note, split):
    names = [split + name for name in (*PETS, *extra)] + (["test/cats/1.png"] if split else [])
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir(parents=True)
        else:
            touch(tmp_path, name)
    _, classes, notes = listed(tmp_path)
    assert classes == ["cats", "dogs"]
    assert note in notes.replace("train/", "")


@pytest.mark.parametrize(
    ("train_name", "test_name"),
    [
        ("training_set", "test_set"), ("Train", "TEST"), ("TRAIN", "val"), ("train_images", "test_images"),
        ("train2017", "val2017"), ("Training Set", "testing"), ("train-data", "validation.images"), ("trainset", "testset"),
    ],
)  # fmt: skip
def test_split_folders_are_known_by_what_people_call_them(tmp_path, train_name, test_name):
    touch(tmp_path / train_name, *PETS)
    touch(tmp_path / test_name, *PETS[1:3])
    found, classes, notes = listed(tmp_path)
    assert classes == ["cats", "dogs"]
    split = "val" if test_name.lower().startswith("val") else "test"
    assert {name.split("/")[0]: split for name, (split, _) in found.items()} == {train_name: "train", test_name: split}
    plain = train_name.lower() == "train"
    assert (f"{train_name}/ is read as train" in notes) != plain


@pytest.mark.parametrize("name", ["training_sets", "trains", "testament", "valley", "train_a", "contest", "test1"])
def test_other_words_are_classes(tmp_path, name):
    assert listed(touch(tmp_path, *PETS, f"{name}/1.png"))[1] == sorted(["cats", "dogs", name])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/cats/1.png", "train/dogs/1.png", "birds/1.png"], "beside folders that are no split (birds)"),
        (["test/cats/1.png", "val/cats/1.png"], "has test/, val/ and no train/"),
        ([f"photos/{s}/{n}" for s in ("train", "test") for n in PETS], "photos holds test/, train/, which would all be read as one class: give --data {}/photos/"),
        ([f"a/b/{s}/{n}" for s in ("training_set", "test_set") for n in PETS], "give --data {}/a/b/"),
        ([f"{k}/{s}/1.png" for s in ("train", "test") for k in ("cats", "dogs")], "splits come first, as in test/cats/"),
        ([f"{s}/{s}/{n}" for s in ("training_set", "test_set") for n in PETS], "the same class folders belong in both"),
    ],
)  # fmt: skip
def test_a_layout_that_would_be_read_wrongly_is_refused_with_what_to_give(tmp_path, names, message):
    with pytest.raises(BadInput) as caught:
        listed(touch(tmp_path, *names))
    assert message.format(tmp_path) in str(caught.value).replace("//", "/")


@pytest.mark.parametrize(
    ("names", "classes", "note"),
    [
        ([f"photos/{n}" for n in PETS], ["photos"], "one class, photos, with the folders cats/, dogs/ in it: if those are the classes, give --data {}/photos/"),
        ([f"a/b/{n}" for n in PETS], ["a"], "give --data {}/a/b/"),
        ([f"{s}/images/{n}" for s in ("train", "test") for n in PETS], ["images"], "move them up, out of images/"),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png", "test/d/1.png"], list("abcd"), "test/ has no class of the training images"),
        (["train/cats/1.png", "train/dogs/1.png", "test/1.png"], ["cats", "dogs"], "1 images of test/ lie in no class folder: they have no label"),
        (["train/cats/1.png", "test/cats/1.png", "look.png"], ["cats"], "passed over 1 images beside the splits' folders (look.png)"),
        (["train/cats/1.png", "train/dogs/1.png", "test/notes.txt"], ["cats", "dogs"], "no image in test/ (1 .txt)"),
    ],
)  # fmt: skip
def test_a_layout_that_may_be_meant_is_read_and_told(tmp_path, names, classes, note):
    _, found, notes = listed(touch(tmp_path, *names))
    assert found == classes
    assert note.format(tmp_path) in notes.replace("//", "/")


@pytest.mark.parametrize(
    "names",
    [
        ["cats/1.png", "cats/2.png"],  # one class
        ["cats/2020/1.png", "cats/best.png", "cats/2021/1.png"],
        ["cats/all/1.png"],
        PETS,
        ["1.png", "2.png"],
        [f"{s}/{n}" for s in ("train", "test") for n in PETS],
        [f"train/{n}" for n in PETS],
    ],
)
def test_an_honest_layout_is_read_without_a_word(tmp_path, names):
    found, _, notes = listed(touch(tmp_path, *names))
    assert sorted(found) == sorted(names)
    assert not notes


def test_images_of_a_flat_test_folder_have_no_label(tmp_path):
    found, _, _ = listed(touch(tmp_path, "train/cats/1.png", "train/dogs/1.png", "test/1.png"))
    assert found == {"test/1.png": ("test", None), "train/cats/1.png": ("train", "cats"), "train/dogs/1.png": ("train", "dogs")}  # fmt: skip


def test_what_a_source_passes_over_is_said_once_before_anything_is_decoded(tmp_path, capsys):
    place = write_folder(tmp_path / "a", 3)
    (place / "notes.txt").touch()
    os.mkdir(place / "empty")
    load([place], tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{place}: passed over 1 file (1 .txt)"
    assert said[1] == f"{place}: no image in the class folders empty (empty)"
