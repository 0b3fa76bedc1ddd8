"""Lists of files: Places205's own layout, and any `path label` lines."""

import numpy as np
import pytest
from conftest import picture, write_folder
from test_data import load

from lens import opening
from lens.protocols import BadInput

PLACES = ["a/abbey", "f/field/wild"]


def write_places205(root, per_class=8):
    lists, images = root / "trainvalsplit_places205", root / "data/vision/torralba/deeplearning/images256"
    lists.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        lines = []
        for label, place in enumerate(PLACES):
            (images / place).mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                name = f"{place}/gsun_{split}{i}.jpg"
                picture(rng, label).save(images / name)
                lines.append(f"{name} {label}\n")
        rng.shuffle(lines)
        (lists / f"{split}_places205.csv").write_text("".join(lines))
    picture(rng, 0).save(images / "a/abbey/in_no_list.jpg")
    return root


def redder(images):
    shown = images.fetch(np.arange(len(images))).float()
    return (shown[:, 0] - shown[:, 2]).mean(dim=(1, 2)).numpy() > 0


def test_places205_is_read_by_its_lists(tmp_path):
    images = load([write_places205(tmp_path / "places205")], tmp_path)
    assert images.classes == [["abbey", "field/wild"]]
    assert len(images) == 32
    assert sorted(images.names[i] for i in images.indices("test")) == sorted(
        f"{place}/gsun_val{i}.jpg" for place in PLACES for i in range(8)
    )
    assert (redder(images) == (images.label == 1)).all()


@pytest.mark.parametrize("separator", [" ", ",", "\t", ", "])
def test_any_list_of_paths_and_labels_is_read(tmp_path, separator):
    write_folder(tmp_path / "photos", 10)
    (tmp_path / "photos" / "class0" / "000.png").rename(tmp_path / "photos" / "class0" / "one of, these.png")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    lines = [f"photos/{f.relative_to(tmp_path / 'photos')}{separator}{2 * (f.parent.name == 'class1')}" for f in files]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\n")
    images = load([tmp_path / "list.txt"], tmp_path)
    assert len(images) == 20
    assert not images.skipped
    assert images.classes == [["0", "2"]]
    assert (redder(images) == (images.label == 1)).all()


def test_a_listed_file_that_is_missing_is_counted(tmp_path):
    root = write_places205(tmp_path / "places205")
    (root / "data/vision/torralba/deeplearning/images256/a/abbey/gsun_train3.jpg").unlink()
    images = load([root], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == ["a/abbey/gsun_train3.jpg"]
    assert (redder(images) == (images.label == 1)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no image"),
        ("a.jpg 0\nb.jpg\n", r"line 2: 'b.jpg' is not `path label`"),
        ("a.jpg 0\na.jpg 1\n", "names 1 images twice"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        opening.open_source(f"{tmp_path}/list.csv").listing()


def test_places205_without_a_list_is_refused(tmp_path):
    root = write_places205(tmp_path / "places205")
    (root / "trainvalsplit_places205" / "val_places205.csv").unlink()
    with pytest.raises(BadInput, match=r"cannot read the file list .*val_places205.csv \(No such file"):
        opening.open_source(f"{root}/").listing()


def test_labels_are_numbered_by_those_that_occur(tmp_path):
    folder = write_folder(tmp_path / "a", 8)
    files = sorted(folder.rglob("*.png"))
    (folder / "list.txt").write_text(
        "".join(f"{file.relative_to(folder)} {1_700_000_000 + i % 2}\n" for i, file in enumerate(files))
    )
    assert load([folder / "list.txt"], tmp_path).classes == [["1700000000", "1700000001"]]


def test_a_label_that_is_a_list_is_refused():
    from lens.sources._columns import numbered

    with pytest.raises(BadInput, match="not one word or number"):
        numbered([[1, 2], None])
