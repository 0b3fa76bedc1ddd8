"""What counts as a label, in every source; what has none is used by the pretext task and measured by nobody."""

import decimal
import gzip
import io
import json
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from pictures import load, picture, write_folder
from tiny import TINY

from lens import train
from lens.base.errors import BadInput
from lens.images import opening
from lens.measuring import probes
from lens.protocols.source import Record
from lens.sources._columns import Column, labelled

D = decimal.Decimal


def read(values, splits=None, **column):
    """The labels, the classes, the notes as one text, and the rows that are kept."""
    records = [Record(f"{i}", split=splits and splits[i]) for i in range(len(values))]
    listing, rows = labelled("./a", records, Column("label", values, **column))
    return [record.label for record in listing.records], list(listing.classes), "; ".join(listing.notes), rows


# --- one function for all sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "labels", "classes"),
    [
        ([3, 1, None, 3, -1], [1, 0, None, 1, None], ["1", "3"]),
        ([0.0, 1.0, math.nan, -1.0], [0, 1, None, None], ["0", "1"]),
        ([1, 1.0, D("1.00"), 2], [0, 0, 0, 1], ["1", "2"]),
        ([D("0"), D("2.0"), D("NaN"), D("-1")], [0, 1, None, None], ["0", "2"]),
        (["dog", "cat", "", " ", "nan", "-1", "None"], [2, 1, None, None, None, None, 0], ["None", "cat", "dog"]),
        ([b"dog", "hündin".encode(), None], [0, 1, None], ["dog", "hündin"]),
        ([True, False, None], [1, 0, None], ["False", "True"]),
        ([-2, 0], [0, 1], ["-2", "0"]),
    ],
)
def test_values_become_classes(values, labels, classes):
    found, names, notes, _ = read(values)
    assert (found, names) == (labels, classes)
    missing = labels.count(None)
    assert (f"{missing} of {len(labels)} images have no label" in notes) == bool(missing)


def test_numbers_with_names_are_those_names():
    assert read([1, 0, -1, None, 1.0, math.nan], names=["a", "b"])[:2] == ([1, 0, None, None, 1, None], ["a", "b"])


@pytest.mark.parametrize(
    ("values", "column", "message"),
    [
        ([0, 2, 1, 3], {"names": ["a", "b"]}, "2 labels of column 'label' are outside of its 2 class names, such as 2"),
        ([0, -2], {"names": ["a", "b"]}, "such as -2"),
        ([0, 0.5], {"names": ["a", "b"]}, "such as 0.5"),
        (["a", 0], {"names": ["a", "b"]}, "such as a"),
        ([True, False], {"names": ["a", "b"]}, "such as True"),
        ([0, "0"], {}, "several kinds (number, word)"),
        ([True, 1], {}, "several kinds (bool, number)"),
        ([0, math.inf], {}, "a label is inf"),
        ([[1]], {}, "not one word or number"),
        ([None, -1, math.nan], {"asked": True}, "holds no label in its 3 rows"),
    ],
)
def test_values_that_are_no_labels_are_refused(values, column, message):
    with pytest.raises(BadInput) as caught:
        read(values, **column)
    assert str(caught.value).startswith("./a")
    assert message in str(caught.value)


UNIQUE = ["nearly every row has a value of its own (20 in 20)", list(range(20))]
CAPTIONS = ["nearly every row has a value of its own (13 in 20)", [f"a picture of {min(i, 12)}" for i in range(20)]]
SCORES = ["its numbers are not whole, such as 0.25", [0.25, 1.0, 0.5, 1.0] * 5]


@pytest.mark.parametrize(("why", "values"), [UNIQUE, CAPTIONS, SCORES])
def test_an_index_a_caption_or_a_score_is_no_label_unless_it_is_named(why, values):
    labels, classes, notes, _ = read(values)
    assert labels == [None] * 20
    assert not classes
    assert notes == f"column 'label' is taken for no label, since {why}: name it with --label_column if it is one"
    labels, classes, notes, _ = read(values, asked=True)
    assert len(classes) == len(set(values))
    assert [classes[label] for label in labels] == [str(int(v) if v == 1.0 else v) for v in values]
    assert notes == f"column 'label' is taken for the label as you say, though {why}"
    numbered = [value if isinstance(value, int) else i for i, value in enumerate(values)]
    assert read(numbered, names=[f"{i}" for i in range(20)])[2] == ""  # names say that it is one


@pytest.mark.parametrize("values", [list(range(10)), list(range(20)) * 2])
def test_few_labels_or_twice_each_are_labels(values):
    assert len(read(values)[1]) == len(set(values))


def test_a_test_split_without_labels_is_left_out_where_val_can_be_tested_on():
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    labels, _, notes, rows = read([0, 1, 0, 1, 0, 1, -1, -1, -1], splits)
    assert labels == [0, 1, 0, 1, 0, 1]
    assert rows == list(range(6))
    assert "left out the 3 images of the test split: none of them has a label" in notes
    without_val = ["train" if split == "val" else split for split in splits]
    labels, _, notes, rows = read([0, 1, 0, 1, 0, 1, -1, -1, -1], without_val)
    assert labels == [0, 1, 0, 1, 0, 1, None, None, None]
    assert "3 of 9 images have no label" in notes
    assert read([0, 1, 0, 1, 0, 1, -1, 1, -1], splits)[0][6:] == [None, 1, None]  # one is known: the split stays


# --- tables ----------------------------------------------------------------------------------------------------------

N = 24
LABELS = [i % 2 for i in range(N)]


def encoded(label, seed):
    buffer = io.BytesIO()
    picture(np.random.default_rng(seed), label, (20, 20)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [encoded(i % 2, i) for i in range(N)]


def parquet(place, *tables):
    place.mkdir()
    for number, columns in enumerate(tables):
        pyarrow.parquet.write_table(pyarrow.table(columns), place / f"{number}.parquet")
    return place


def redder(images):
    shown = images.fetch(np.arange(len(images))).float()
    return ((shown[:, 0] - shown[:, 2]).mean(dim=(1, 2)) > 0).numpy()


def views():
    return pyarrow.array(PICTURES, pyarrow.binary_view())


ODD = {
    "floats": {"label": [float(label) for label in LABELS]},
    "decimals": {"label": pyarrow.array([D(label) for label in LABELS], pyarrow.decimal128(5, 2))},
    "views of words": {"label": pyarrow.array([str(label) for label in LABELS], pyarrow.string_view())},
    "views of bytes": {"image": views()},
    "views in a struct": {"image": pyarrow.StructArray.from_arrays([views()], ["bytes"])},
    "large bytes": {"image": pyarrow.array(PICTURES, pyarrow.large_binary())},
    "an index beside it": {"__index_level_0__": list(range(100, 100 + N))},
    "captions beside it": {"caption": [f"picture {i}" for i in range(N)]},
    "scores beside it": {"score": [i % 3 / 2 for i in range(N)]},
    "whole scores beside it": {"stars": [float(i % 3) for i in range(N)]},
    "infinities beside it": {"ratio": [math.inf if i % 2 else 1.0 for i in range(N)]},
}


@pytest.mark.parametrize("title", ODD)
def test_labels_of_an_odd_table_are_found_without_being_named(tmp_path, title):
    columns = {"image": PICTURES, "label": LABELS} | ODD[title]
    images = load([parquet(tmp_path / "p", columns)], tmp_path)
    assert images.classes == [["0", "1"]]
    assert (redder(images) == (images.label == 1)).all()


@pytest.mark.parametrize("name", ["index", "caption"])
def test_a_table_without_labels_is_read_as_one(tmp_path, name, capsys):
    column = {"index": list(range(N)), "caption": [f"picture {i}" for i in range(N)]}[name]
    images = load([parquet(tmp_path / "p", {"image": PICTURES, name: column})], tmp_path)
    assert images.classes == [[]]
    assert f"column {name!r} is taken for no label" in capsys.readouterr().err
    images = load([tmp_path / "p"], tmp_path, label_column=name)
    assert len(images.classes[0]) == N


def test_two_likely_columns_are_asked_about(tmp_path):
    place = parquet(tmp_path / "p", {"image": PICTURES, "label": LABELS, "kind": LABELS, "index": list(range(N))})
    with pytest.raises(BadInput, match=r"2 columns that could hold the labels \(label, kind\): name one"):
        load([place], tmp_path)


def test_the_order_of_columns_and_others_beside_them_do_not_matter(tmp_path):
    maps = pyarrow.array([[("w", "1")]] * N, pyarrow.map_(pyarrow.string(), pyarrow.string()))
    place = parquet(
        tmp_path / "p",
        {"image": PICTURES, "label": LABELS, "meta": maps},
        {"extra": [[1]] * N, "label": LABELS, "image": pyarrow.array(PICTURES, pyarrow.large_binary())},
    )
    images = load([place], tmp_path)
    assert len(images) == 2 * N
    assert images.classes == [["0", "1"]]
    assert (redder(images) == (images.label == 1)).all()


def test_a_file_without_the_images_of_the_others_is_named(tmp_path):
    place = parquet(tmp_path / "p", {"image": PICTURES, "label": LABELS}, {"image": ["a.png"] * N, "label": LABELS})
    with pytest.raises(BadInput, match=r"1\.parquet: column 'image' holds no images"):
        load([place], tmp_path)


def test_floats_with_names_are_those_names(tmp_path):
    feature = {"label": {"_type": "ClassLabel", "names": ["blue", "red"]}}
    table = pyarrow.table({"image": PICTURES, "label": [float(k) if i else math.nan for i, k in enumerate(LABELS)]})
    (tmp_path / "p").mkdir()
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": feature}})})
    pyarrow.parquet.write_table(table, tmp_path / "p" / "a.parquet")
    images = load([tmp_path / "p"], tmp_path)
    assert images.classes == [["blue", "red"]]
    assert images.label.tolist() == [-1, *LABELS[1:]]


# --- what has no label is measured by nobody -------------------------------------------------------------------------


@pytest.fixture
def gaps(tmp_path):
    """Pictures of two classes, every sixth without a label."""
    labels = [math.nan if i % 6 == 0 else float(i % 2) for i in range(120)]
    pictures = [encoded(i % 2, i) for i in range(120)]
    return parquet(tmp_path / "gaps", {"image": pictures, "label": labels})


def test_images_without_a_label_are_trained_on_and_left_out_of_probes(gaps, tmp_path, capsys):
    images = load([gaps], tmp_path)
    assert f"{gaps}: 20 of 120 images have no label (null, NaN or -1): probes leave them out" in capsys.readouterr().err
    assert sum(len(images.indices(split)) for split in ("train", "val", "test")) == 120
    found = probes.probe_splits(images, 0, "gaps", None, None, 0)
    assert sorted(np.concatenate(list(found.values())).tolist()) == np.flatnonzero(images.label >= 0).tolist()
    assert len(np.concatenate(list(found.values()))) == 100
    few = probes.probe_splits(images, 0, "gaps", 7, 5, 0)
    assert [len(few[split]) for split in ("train", "val", "test")] == [7, 5, 5]
    assert all((images.label[index] >= 0).all() for index in few.values())


def test_a_split_without_a_label_has_no_probe(tmp_path):
    write_folder(tmp_path / "a" / "train", 20)
    (tmp_path / "a" / "test").mkdir()
    for i in range(5):
        picture(np.random.default_rng(i), 0).save(tmp_path / "a" / "test" / f"{i}.png")
    images = load([tmp_path / "a"], tmp_path)
    assert len(images.indices("test")) == 5
    with pytest.raises(BadInput, match=r"two classes and \./a has no labelled images in its test split"):
        probes.probe_splits(images, 0, "./a", None, None, 0)


def test_a_task_of_labels_is_not_asked_about_images_without_one(gaps, tmp_path, capsys):
    argv = [*TINY, "--data", str(gaps), "--task", "labels", "--steps", "1", "--out", str(tmp_path / "run")]
    assert train.main(argv) == 0
    assert "20 of 120 images have no label (" in capsys.readouterr().err
    with gzip.open(tmp_path / "run" / "splits.jsonl.gz", "rt") as file:
        record = [json.loads(line) for line in file]
    assert sum(entry["label"] is None for entry in record) == 20
    assert all((entry["split"] == "unlabelled") == (entry["label"] is None) for entry in record)


def test_torchvisions_labels_go_through_the_same(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from lens.sources import cifar10

    data = SimpleNamespace(train_list=[["a", "md5"]], test_list=[], targets=[0, 1, -1, 7], classes=["blue", "red"])
    source = opening.open_source("cifar10", root=str(tmp_path))
    monkeypatch.setattr(cifar10.CIFAR10, "parts", lambda self, place: [("train", "train", data)])
    with pytest.raises(
        BadInput, match="CIFAR10: 1 labels of column 'label' are outside of its 2 class names, such as 7"
    ):
        source.listing()
    data.targets[3] = 0
    assert [r.label for r in opening.open_source("cifar10", root=str(tmp_path)).listing().records] == [0, 1, None, 0]
