"""WebDataset shards and hub data sets through `datasets`: labels, splits, names, and one line for what fails."""

import io
import os
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from pictures import encoded, load, picture, write_folder, write_shard
from tiny import TINY

from lens import train
from lens.base.errors import BadInput
from lens.base.walk import walk
from lens.images import opening, splits
from lens.protocols.lookup import find, names


def redder(images):
    shown = images.fetch(np.arange(len(images))).float()
    return (shown[:, 0] - shown[:, 2]).mean(dim=(1, 2)).numpy() > 0


# --- shards ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_shards_keeps_its_splits_labels_and_names(tmp_path):
    folder = tmp_path / "sh[a]rds"  # brackets mean something in a pattern
    write_shard(folder / "train-0000.tar", 30)
    write_shard(folder / "train-0001.tar", 30)
    write_shard(folder / "validation-0000.tar", 10)
    images = load([folder], tmp_path)
    assert images.classes == [["0", "1"]]
    assert (redder(images) == (images.label == 1)).all()
    assert len(set(images.names)) == 70
    assert images.names[30] == "train-0001.tar:00000"
    assert {images.names[i].split("-")[0] for i in images.indices("test")} == {"validation"}
    assert [entry.name for entry in (tmp_path / "cache").iterdir() if entry.name == "datasets"] == ["datasets"]


def test_a_single_shard_with_json_labels(tmp_path):
    write_shard(tmp_path / "all.tar", 20, fields=("json",))
    images = load([tmp_path / "all.tar"], tmp_path)
    assert images.classes == [["kind 0", "kind 1"]]
    assert (redder(images) == (images.label == 1)).all()
    assert load([tmp_path / "all.tar"], tmp_path, label_column="json.width").classes == [["20"]]
    with pytest.raises(BadInput, match=r"no column 'json\.lable': did you mean 'json\.label'"):
        load([tmp_path / "all.tar"], tmp_path, label_column="json.lable")
    with pytest.raises(BadInput, match="column 'txt' holds no images"):
        load([tmp_path / "all.tar"], tmp_path, image_column="txt")


def test_captions_are_no_labels(tmp_path):
    write_shard(tmp_path / "all.tar", 20, fields=())
    assert load([tmp_path / "all.tar"], tmp_path).classes == [[]]


def test_a_shard_that_changes_is_read_again(tmp_path):
    write_shard(tmp_path / "all.tar", 20)
    assert len(load([tmp_path / "all.tar"], tmp_path)) == 20
    write_shard(tmp_path / "all.tar", 22, start=1)
    images = load([tmp_path / "all.tar"], tmp_path)
    assert len(images) == 22
    assert (redder(images) == (images.label == 1)).all()
    assert images.label[0] == 1


def test_an_image_that_is_none_is_counted(tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for i in range(10):
            content = b"no image" if i == 3 else encoded(0, i)
            member = tarfile.TarInfo(f"{i}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    images = load([tmp_path / "all.tar"], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == ["all.tar:3"]


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_is_no_shard_is_one_line(tmp_path, capsys, content):
    (tmp_path / "a.tar").write_bytes(content)
    assert train.main([*TINY, "--data", str(tmp_path / "a.tar"), "--cache_dir", str(tmp_path / "cache")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "lens: error" in line]
    assert len(error) == 1
    assert "a.tar cannot be loaded" in error[0]


def test_each_layout_is_read_by_one_source(tmp_path):
    """Whatever the order in which they are asked."""
    write_folder(tmp_path / "folder", 1)
    write_shard(tmp_path / "webdataset" / "a.tar", 1)
    write_shard(tmp_path / "archives_beside" / "a.tar", 1)
    write_folder(tmp_path / "archives_beside" / "train", 1)
    (tmp_path / "file_list" / "trainvalsplit_places205").mkdir(parents=True)
    write_folder(tmp_path / "file_list" / "data", 1)
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "a.PARQUET").touch()
    readers = {name: find("source", name) for name in names("source")}
    for place in tmp_path.iterdir():
        endings = {os.path.splitext(name)[1].lower() for name in walk(str(place))}
        accepting = [
            n for n, reader in readers.items() if hasattr(reader, "accepts") and reader.accepts(place, endings)
        ]
        assert accepting == [{"archives_beside": "folder"}.get(place.name, place.name)]


# --- the hub ---------------------------------------------------------------------------------------------------------


def rows(count, start=0, labels=None, kind=None):
    import datasets  # not at the top: every process of the tests would wait for it

    labels = [i % 2 for i in range(start, start + count)] if labels is None else labels
    columns = {
        "img": [{"bytes": encoded(i % 2, i), "path": None} for i in range(start, start + count)],
        "label": labels,
    }
    kind = datasets.Value(kind) if kind else datasets.ClassLabel(names=["blue", "red"])
    return datasets.Dataset.from_dict(columns, datasets.Features({"img": datasets.Image(), "label": kind}))


@pytest.fixture
def hub(monkeypatch):
    """A hub that holds what a test puts there; it records how it was asked."""
    import datasets

    held, asked = {}, []

    def load_dataset(name, config=None, **options):
        asked.append((name, config, options))
        return datasets.DatasetDict(held[name])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    held["asked"] = asked
    return held


def test_a_hub_data_set_keeps_its_splits_and_classes(tmp_path, hub):
    hub["me/pictures"] = {"train": rows(40), "validation": rows(10, 40), "test": rows(12, 50), "extra": rows(5)}
    images = load(["hub:me/pictures:large"], tmp_path)
    assert hub["asked"] == [("me/pictures", "large", {"cache_dir": str(tmp_path / "cache" / "datasets")})]
    assert images.classes == [["blue", "red"]]
    assert (redder(images) == (images.label == 1)).all()
    assert [len(images.indices(split)) for split in splits.SPLITS] == [40, 10, 12]
    assert images.names[0] == "train/0"


def test_labels_that_are_kept_back_make_val_the_test_split(tmp_path, hub):
    hub["me/pictures"] = {"train": rows(60), "validation": rows(10, 60), "test": rows(12, labels=[-1] * 12)}
    images = load(["hub:me/pictures"], tmp_path)
    assert {images.names[i].split("/")[0] for i in images.indices("test")} == {"validation"}
    assert (images.label >= 0).all()
    assert (redder(images) == (images.label == 1)).all()


def test_a_row_without_a_label_is_kept_and_told(tmp_path, hub, capsys):
    hub["me/pictures"] = {"train": rows(4, labels=[0, 1, -1, 1])}
    images = load(["hub:me/pictures"], tmp_path)
    assert images.label.tolist() == [0, 1, -1, 1]
    assert "hub:me/pictures: 1 of 4 images have no label (null, NaN or -1)" in capsys.readouterr().err


def test_splits_that_are_left_out_are_told(hub):
    hub["me/pictures"] = {"train": rows(4), "extra": rows(2)}
    notes = opening.open_source("hub:me/pictures").listing().notes
    assert notes == ["left out its splits extra: they are neither train, validation nor test"]


@pytest.mark.parametrize(("form", "ending"), [("JPEG", "jfif"), ("AVIF", "avif"), ("TIFF", "TIF"), ("PNG", "apng"), ("JPEG2000", "jpx")])  # fmt: skip
def test_shards_hold_pictures_of_any_ending_that_folders_may(tmp_path, form, ending):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for i in range(12):
            buffer = io.BytesIO()
            picture(np.random.default_rng(i), i % 2, (20, 20)).save(buffer, form)
            for field, content in ((ending, buffer.getvalue()), ("cls", b"%d" % (i % 2))):
                member = tarfile.TarInfo(f"./{i:05d}.{field}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    images = load([tmp_path / "all.tar"], tmp_path, bad=0)
    assert len(images) == 12
    assert (redder(images) == (images.label == 1)).all()


def test_hidden_copies_in_a_shard_and_files_beside_it_are_passed_over(tmp_path):
    write_shard(tmp_path / "s" / "a.tar", 6)
    with tarfile.open(tmp_path / "s" / "a.tar", "a") as archive:
        for name in ("im/.ipynb_checkpoints/x.png", "im/.ipynb_checkpoints/x.txt", "im/.ipynb_checkpoints/x.cls"):
            content = {"png": encoded(0), "txt": b"a", "cls": b"0"}[name[-3:]]
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "s" / "._a.tar").write_bytes(b"no shard")
    (tmp_path / "s" / "sizes.json").write_text("{}")
    source = opening.open_source(f"{tmp_path}/s", cache_dir=tmp_path / "cache")
    listing = source.listing()
    assert len(listing.records) == 6
    assert listing.notes == ["passed over 1 file (1 .json), 2 hidden names (._a.tar, a.tar:im/.ipynb_checkpoints/x)"]
    assert source.read(5).size == (20, 20)


def test_a_hub_data_set_with_one_split_of_another_name_is_split_by_hash(tmp_path, hub):
    hub["me/pictures"] = {"full": rows(60, kind="int64")}
    images = load(["hub:me/pictures"], tmp_path)
    assert images.classes == [["0", "1"]]
    assert all(len(images.indices(split)) for split in splits.SPLITS)


def test_changed_rows_are_decoded_again(tmp_path, hub):
    for start in (0, 1):
        hub["me/pictures"] = {"train": rows(20, start)}
        images = load(["hub:me/pictures"], tmp_path)
        assert (redder(images) == (images.label == 1)).all()


def test_the_cache_of_a_hub_data_set_serves_any_working_directory(tmp_path, hub, monkeypatch):
    hub["me/pictures"] = {"train": rows(20)}
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        load(["hub:me/pictures"], tmp_path)
    assert len(list((tmp_path / "cache").glob("*/images.npy"))) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Dataset scripts are no longer supported, but found pictures.py"),
        "Dataset 'me/pictures' doesn't exist\non the Hub",
        ValueError("BuilderConfig 'large' not found.\nAvailable: ['small']"),
    ],
)
def test_what_the_hub_refuses_is_one_line(tmp_path, monkeypatch, capsys, error):
    import datasets

    if isinstance(error, str):
        error = datasets.exceptions.DatasetNotFoundError(error)

    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert train.main([*TINY, "--data", "hub:me/pictures", "--out", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"lens: error: hub:me/pictures cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())})"
    ]


def test_without_a_network_the_hub_is_one_line(tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-m", "lens.train", "--data", "hub:me/pictures", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.match(r"lens: error: hub:me/pictures cannot be loaded \(ConnectionError: .*Offline", line)
    assert not (tmp_path / "run").exists()


def test_a_path_like_a_hub_name_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"me/pictures does not exist: .* write hub:me/pictures"):
        opening.open_source("me/pictures")
    with pytest.raises(BadInput, match="does not exist") as caught:
        opening.open_source("./me/pictures")
    assert "hub:" not in str(caught.value)
    (tmp_path / "me" / "pictures").mkdir(parents=True)
    with pytest.raises(BadInput, match="there is a local me/pictures too"):
        opening.open_source("hub:me/pictures").listing()
