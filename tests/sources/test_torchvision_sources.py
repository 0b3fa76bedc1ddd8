"""Torchvision's data sets by name, read from small trees in their real layouts; nothing is downloaded."""

import hashlib
import pickle
import urllib.error

import numpy as np
import PIL.Image
import pytest
import torchvision.datasets
from pictures import picture, write_imagenet, write_pictures
from tiny import TINY

from lens import train
from lens.base.errors import BadInput
from lens.images import loading, opening
from lens.settings.groups.data import DataSettings

NAMES = ["cifar10", "cifar100", "stl10", "stl10_unlabeled", "caltech101", "places365", "imagenet"]


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


def pixels(count, size, seed):
    """`count` pictures (count, size, size, 3), of label i % 2."""
    rng = np.random.default_rng(seed)
    return np.stack([np.asarray(picture(rng, i % 2, (size, size))) for i in range(count)])


def write_cifar(root, monkeypatch, kind=torchvision.datasets.CIFAR10, per_batch=20):
    """The pickled batches of CIFAR-10 or CIFAR-100, and their checksums in torchvision's lists."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    labels_key = "labels" if kind.base_folder.startswith("cifar-10-") else "fine_labels"

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch(name, seed):
        rows = pixels(per_batch, 32, seed).transpose(0, 3, 1, 2).reshape(per_batch, -1)
        return write(name, {"data": rows, labels_key: [i % 2 for i in range(per_batch)]})

    for attribute in ("train_list", "test_list"):
        files = [name for name, _ in getattr(kind, attribute)]
        entries = [batch(name, seed + 10 * (attribute == "test_list")) for seed, name in enumerate(files)]
        monkeypatch.setattr(kind, attribute, entries)
    _, checksum = write(kind.meta["filename"], {kind.meta["key"]: ["blue", "red"]})
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": checksum})


def write_stl(root, monkeypatch):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for part, count, seed in (("train", 10, 0), ("test", 6, 1), ("unlabeled", 12, 2)):
        columns_first = pixels(count, 96, seed).transpose(0, 3, 2, 1)  # STL-10 stores columns, not rows
        (folder / f"{part}_X.bin").write_bytes(columns_first.tobytes())
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes(bytes(i % 2 + 1 for i in range(count)))
    (folder / "class_names.txt").write_text("blue\nred\n")
    for attribute in ("train_list", "test_list"):
        entries = [[name, md5(folder / name)] for name, _ in getattr(torchvision.datasets.STL10, attribute)]
        monkeypatch.setattr(torchvision.datasets.STL10, attribute, entries)


def write_caltech(root):
    objects = root / "caltech101" / "101_ObjectCategories"
    for label, name in enumerate(["BACKGROUND_Google", "accordion", "airplanes"]):
        write_pictures(objects / name, [f"image_{i + 1:04d}.jpg" for i in range(10)], label - 1)


def write_places365(root, monkeypatch):
    folder = root / "places365"
    names = [f"{i + 1:08d}.jpg" for i in range(8)]
    for label, name in enumerate(["airfield", "airplane_cabin"]):
        write_pictures(folder / "data_256_standard" / "a" / name, names, label)
    for label in range(2):
        write_pictures(folder / "val_256", [f"Places365_val_{2 * i + label:08d}.jpg" for i in range(3)], label)
    train_lines = [f"/a/{name}/{file} {label}\n" for label, name in enumerate(["airfield", "airplane_cabin"]) for file in names]  # fmt: skip
    (folder / "categories_places365.txt").write_text("/a/airfield 0\n/a/airplane_cabin 1\n")
    (folder / "places365_train_standard.txt").write_text("".join(train_lines))
    (folder / "places365_val.txt").write_text("".join(f"Places365_val_{i:08d}.jpg {i % 2}\n" for i in range(6)))
    kind = torchvision.datasets.Places365
    file = "categories_places365.txt"
    monkeypatch.setattr(kind, "_CATEGORIES_META", (file, md5(folder / file)))
    lists = {split: (file, md5(folder / file)) for split, (file, _) in kind._FILE_LIST_META.items() if (folder / file).exists()}  # fmt: skip
    monkeypatch.setattr(kind, "_FILE_LIST_META", lists)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """All of the data sets, small, below one root."""
    write_cifar(tmp_path, monkeypatch)
    write_cifar(tmp_path, monkeypatch, torchvision.datasets.CIFAR100)
    write_stl(tmp_path, monkeypatch)
    write_caltech(tmp_path)
    write_places365(tmp_path, monkeypatch)
    write_imagenet(tmp_path)
    return tmp_path


def load(key, root, size=16):
    return loading.load(
        DataSettings(
            data=[key], image_size=8, cache_image_size=size, cache_dir=str(root / "cache"), data_root=str(root)
        )
    )


@pytest.mark.parametrize(
    ("key", "splits", "classes"),
    [
        ("cifar10", {"train": 100, "test": 20}, ["blue", "red"]),
        ("cifar100", {"train": 20, "test": 20}, ["blue", "red"]),
        ("stl10", {"train": 10, "test": 6}, ["blue", "red"]),
        ("caltech101", {None: 20}, ["accordion", "airplanes"]),
        ("places365", {"train": 16, "val": 6}, ["/a/airfield", "/a/airplane_cabin"]),
        ("imagenet", {"train": 24, "val": 6}, ["n01440764 tench", "n01443537 goldfish"]),
    ],
)
def test_a_named_data_set_has_its_splits_its_classes_and_each_label_its_image(root, key, splits, classes):
    listing = opening.open_source(key, root=str(root)).listing()
    found = [record.split for record in listing.records]
    assert {split: found.count(split) for split in set(found)} == splits
    assert len({record.name for record in listing.records}) == len(listing.records)
    images = load(key, root)
    assert images.classes == [classes]
    assert not images.skipped
    shown = images.fetch(np.arange(len(images))).float()
    redder = (shown[:, 0] - shown[:, 2]).mean(dim=(1, 2)) > 0
    assert (redder.numpy() == (images.label == 1)).all()
    assert (shown[:, :, :4].mean(dim=(1, 2, 3)) > shown[:, :, -4:].mean(dim=(1, 2, 3))).all()  # brighter at the top


def test_unlabelled_stl10_has_neither_labels_nor_splits(root):
    listing = opening.open_source("stl10_unlabeled", root=str(root)).listing()
    assert [record.label for record in listing.records] == [None] * 12
    assert listing.classes == []
    assert {record.split for record in listing.records} == {None}


def test_a_changed_file_is_decoded_again(root):
    before = load("imagenet", root)
    PIL.Image.new("RGB", (9, 9), "white").save(root / "imagenet" / "train" / "n01440764" / "n01440764_0.JPEG")
    after = load("imagenet", root)
    assert (after.fetch(np.array([0])).numpy() == 255).all()
    assert not (before.fetch(np.array([0])).numpy() == 255).all()


def test_a_pickle_with_another_checksum_is_never_loaded(root, monkeypatch, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", lambda *args, **kwargs: None)
    with pytest.raises(BadInput, match="CIFAR10 can neither be read below"):
        load("cifar10", root)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("key", NAMES)
def test_a_data_set_that_cannot_be_had_gets_one_line(tmp_path, monkeypatch, capsys, key):
    asked = []

    def fail(url, *args, **kwargs):
        asked.append(url)
        raise urllib.error.URLError("Name or service not known\nand more")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LENS_DATA", raising=False)
    for module in ("cifar", "stl10", "caltech", "places365"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", fail)
    assert train.main([*TINY, "--data", key]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "--data_root or $LENS_DATA" in lines[0]
    assert ("ILSVRC2012_img_train.tar" in lines[0]) if key == "imagenet" else ("Name or service" in lines[0])
    assert bool(asked) == (key != "imagenet")


def test_the_root_is_the_flag_else_the_environment_else_data(root, monkeypatch, tmp_path):
    monkeypatch.setenv("LENS_DATA", str(root))
    assert len(opening.open_source("imagenet").listing().records) == 30
    with pytest.raises(BadInput, match="nowhere/imagenet"):
        opening.open_source("imagenet", root="nowhere").listing()
    monkeypatch.delenv("LENS_DATA")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "data").symlink_to(root)
    monkeypatch.chdir(tmp_path / "here")
    assert len(opening.open_source("imagenet").listing().records) == 30


def test_a_run_probes_a_named_data_set(root, tmp_path):
    import json

    argv = ["--data", "imagenet", "--probe", "cifar10", "--data_root", str(root), "--steps", "1", "--val_images", "4"]
    assert train.main([*TINY, *argv, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["downstream"]["cifar10"]["n_test"] == 20
