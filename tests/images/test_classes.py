"""Measured classes that training lacks are left out, counted and said; two spellings of one name are one class."""

import dataclasses
import shutil
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import Data, load, write_folder

from lens.base.errors import BadInput
from lens.figures import summary_table
from lens.images import classes
from lens.measuring import probes
from lens.players.players import Players
from lens.players.posing import posed_about
from lens.protocols.lookup import find
from lens.proving import cost
from lens.proving.lensed_set import LensedSet, LensedSets
from lens.results.summary import Summary
from lens.settings.groups.views import ViewSettings
from lens.settings.run_settings import Settings

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def folders(root, train=("cat", "dog"), test=("cat", "dog"), each=20):
    """A folder with splits: `each` images a class to train on, 8 to test on; a tenth of train becomes val."""
    for split, names, count in (("train", train, each), ("test", test, 8)):
        written = write_folder(root / "written", count, len(names), seed=len(split))
        for number, name in enumerate(names):
            (root / split).mkdir(parents=True, exist_ok=True)
            shutil.move(written / f"class{number}", root / split / name)
        written.rmdir()
    return root


def test_the_helper_writes_what_it_says(tmp_path):
    images = load([folders(tmp_path / "a", test=("cat", "unknown"))], tmp_path)
    test = images.indices("test")
    assert {images.classes[0][k] for k in images.label[test].tolist()} == {"cat", "unknown"}
    assert len(images.indices("val")) > 0


# --- probes ----------------------------------------------------------------------------------------------------------


def test_a_probe_leaves_out_test_images_of_classes_that_training_lacks(tmp_path, capsys):
    images = load([folders(tmp_path / "a", test=("cat", "dog", "unknown"))], tmp_path)
    splits = probes.probe_splits(images, 0, "a", None, None, 0)
    assert {images.classes[0][k] for k in images.label[splits["test"]].tolist()} == {"cat", "dog"}
    assert len(splits["test"]) == 16
    said = capsys.readouterr().err
    assert "probe on a: 8 test images of 1 class ('unknown') that training lacks: left out" in said
    probes.probe_splits(images, 0, "a", None, None, 0, tell=False)
    assert capsys.readouterr().err == ""


def test_a_probe_with_nothing_but_unknown_classes_is_refused_in_one_line(tmp_path):
    images = load([folders(tmp_path / "a", test=("Cat", "Dog"))], tmp_path)
    with pytest.raises(
        BadInput, match="all 16 of a are of others: name the class folders of all splits alike"
    ) as error:
        probes.probe_splits(images, 0, "a", None, None, 0)
    assert "\n" not in str(error.value)


def test_two_spellings_of_a_class_are_one_to_a_probe(tmp_path):
    images = load([folders(tmp_path / "a", ("dog", COMPOSED), ("dog", APART))], tmp_path)
    assert len(images.classes[0]) == 3
    splits = probes.probe_splits(images, 0, "a", None, None, 0)
    label = classes.of_source(images, 0)
    assert len(splits["test"]) == 16
    assert set(label[splits["test"]]) == set(label[splits["train"]])
    assert len(set(label[splits["train"]])) == 2


def test_labels_are_as_they_are_where_every_name_has_one_spelling(tmp_path):
    images = load([folders(tmp_path / "a")], tmp_path)
    assert np.array_equal(classes.of_source(images, 0), images.label)


def test_the_table_says_how_many_were_left_out():
    probe = {"chance": 0.5, "n_train": 20, "n_test": 16, "n_test_of": 24, "n_test_left_out": 8, "linear": 0.9}
    summary = {
        "task": "rotation", "data": "a", "shortcut": "none", "lens": "none", "images_per_second": 1.0, "seconds": 1.0, "seed": 0,
        "steps": 1, "pretext": {"metric": "loss", "images": 4, "chance": None}, "downstream": {"a": probe},
    }  # fmt: skip
    note = next(row[3] for row in summary_table.table(Summary.of_json(summary)) if row[0] == "a: linear")
    assert note == "chance 50.0 %, 20 train, 16 of 24 test, 8 of classes that training lacks left out"


# --- the task of labels ----------------------------------------------------------------------------------------------


def labels(data):
    return posed_about(find("task", "labels")(), "labels", ViewSettings(), data)


def test_two_sources_that_spell_a_class_in_two_ways_share_it(capsys):
    data = Data([["dog", COMPOSED], ["zoo", APART]], [0, 0, 1, 1], [0, 1, 0, 1])
    task, answers = labels(data)
    assert task.classes == 3
    assert answers[1] == answers[3]
    assert "1 class ('café') in two spellings of Unicode (NFC and NFD): taken for one name" in capsys.readouterr().err


def test_the_order_of_classes_is_that_of_their_names_as_they_are_spelt():
    """A head that was trained on names in either form finds its classes where they were."""
    for form, expected in (("NFC", [1, 2, 0]), ("NFD", [2, 1, 0])):
        names = ["zoo", unicodedata.normalize(form, "été"), "dog"]
        assert classes.pooled(Data([names], [0, 0, 0], [0, 1, 2]))[0].tolist() == expected


def test_the_task_of_labels_is_asked_about_classes_that_training_has(capsys):
    """Its head has no output for others: nobody would ever be right with it, so that it would be the least likely of every image."""
    names = [["ant", "cat", "dog", "owl", "unknown"]]
    split = ["train", "train", "val", "test", "test", "test", "fresh"]
    data = Data(names, [0] * 7, [1, 2, 1, 2, 3, 4, 0], split)
    task, answers = labels(data)
    assert answers.tolist() == [0, 1, 0, 1, -1, -1, -1]
    assert task.classes == 2
    said = capsys.readouterr().err
    assert "--task labels: 2 test images of 2 classes ('owl', 'unknown') that training lacks: left out" in said
    limits = Settings.of({"val_images": 1000, "test_images": None})
    players = SimpleNamespace(settings=limits, by_source=False, images=data, answers=answers)
    assert Players.held_out(players, "test").tolist() == [3]
    assert Players.held_out(players, "val").tolist() == [2]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_unknown_classes_alone_is_refused(split):
    data = Data([["cat", "dog", "Cat"]], [0] * 4, [0, 1, 2, 2], ["train", "train", split, split])
    with pytest.raises(BadInput, match=f"needs {split} images of classes that training has, and all 2 are of others"):
        labels(data)


# --- the cost of a removal -------------------------------------------------------------------------------------------


def part(label):
    count = len(label)
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(3, 3).repeat(8, 1).repeat(8, 2)
    ones = np.ones(count)
    return LensedSet(pixels, pixels + 1, np.zeros(count, int), np.array(label), np.arange(count), ones, ones, ones > 0)


def test_the_cost_leaves_out_classes_that_the_classifiers_never_see(capsys, tmp_path):
    sets = {"train": part([0, 1, 0]), "val": part([1, 0]), "test": part([2, 0, 1, 2, 1])}

    def labelled(splits):
        found = cost.labelled(LensedSets(splits, ["./a"], ["cat", "dog", "unknown"], tmp_path))
        return found and found.splits

    found = labelled(sets)
    assert (
        "downstream cost: 2 test images of 1 class ('unknown') that training lacks: left out" in capsys.readouterr().err
    )
    assert found["train"] is sets["train"]
    assert found["test"].label.tolist() == [0, 1, 1]
    assert found["test"].group.tolist() == found["test"].raw[:, 0, 0, 0].tolist() == [1, 2, 4]
    assert found["test"].lensed[:, 1, 1, 2].tolist() == [2, 3, 5]
    assert labelled(sets | {"test": part([2, 2])}) is None
    assert "none that training has" in capsys.readouterr().err
    assert labelled(sets | {"val": part([-1, 0])}) is None
    assert {field.name for field in dataclasses.fields(LensedSet)} == set(vars(found["test"]))
