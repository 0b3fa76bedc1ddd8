"""Lists of files: Places205's own layout, and any `path label` lines."""

import numpy as np
import pytest
from pictures import PLACES, load, write_folder, write_places205

from lens.base.errors import BadInput
from lens.images import opening


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


# --- as spreadsheets and other tools write them ----------------------------------------------------------------------


def pets(tmp_path):
    """12 pictures of two classes, and their names."""
    write_folder(tmp_path / "im", 6)
    return [f"im/class{label}/{i:03d}.png" for label in (0, 1) for i in range(6)]


def lines(names, form):
    return "".join(form.format(name, int("class1" in name), windows=name.replace("/", "\\")) + "\n" for name in names)


AS_WRITTEN = {
    "a byte-order mark": (lambda t: t.encode("utf-8-sig"), "{},{}", ["0", "1"]),
    "UTF-16": (lambda t: t.encode("utf-16"), "{},{}", ["0", "1"]),
    "UTF-16, the other way round": (lambda t: b"\xfe\xff" + t.encode("utf-16-be"), "{}\t{}", ["0", "1"]),
    "Windows's lines": (lambda t: t.replace("\n", "\r\n").encode("utf-8-sig"), "{},{}", ["0", "1"]),
    "old Mac's lines": (lambda t: t.replace("\n", "\r").encode(), "{},{}", ["0", "1"]),
    "quotes": (str.encode, '"{}","{}"', ["0", "1"]),
    "a quoted path": (str.encode, '"{}" {}', ["0", "1"]),
    "a quoted label with a comma": (str.encode, '"{}","pet, {}"', ["pet, 0", "pet, 1"]),
    "floats": (str.encode, "{},{}.0", ["0", "1"]),
    "fewer zeros": (str.encode, "{} {}.", ["0", "1"]),
    "semicolons": (str.encode, "{};{}", ["0", "1"]),
    "backslashes": (str.encode, "{windows},{1}", ["0", "1"]),
    "words": (str.encode, "{},pet {}", ["pet 0", "pet 1"]),
    "words and tabs": (str.encode, "{}\tp{}", ["p0", "p1"]),
    "titles": (lambda t: b"path,label\n" + t.encode(), "{},{}", ["0", "1"]),
    "titles of words": (lambda t: b"\xef\xbb\xbffile_name;Class\n" + t.encode(), "{};p{}", ["p0", "p1"]),
    "titles and blanks": (lambda t: b"\nimage_path label\n" + t.encode(), "{} {}", ["0", "1"]),
    "spaces in the words": (str.encode, " {} , {} ", ["0", "1"]),
}


@pytest.mark.parametrize("title", AS_WRITTEN)
def test_a_list_is_read_as_it_was_written(tmp_path, title):
    encode, form, classes = AS_WRITTEN[title]
    names = pets(tmp_path)
    (tmp_path / "list.csv").write_bytes(encode(lines(names, form)))
    images = load([tmp_path / "list.csv"], tmp_path, bad=0)
    assert images.names == names
    assert images.classes == [classes]
    assert (redder(images) == (images.label == 1)).all()
    notes = opening.open_source(f"{tmp_path}/list.csv").listing().notes
    assert any("is taken for its titles" in note for note in notes) == title.startswith("titles")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 0\nb.png 1 0 1\n", "line 2: 'b.png 1 0 1' has more than a path and a label"),
        ("a.png,0,train\n", "line 1: 'a.png,0,train' has more than a path and a label"),
        ("0,a.png\n", "line 1: '0,a.png' is not `path label`"),
        ("a.png 0\npath,label\n", "several kinds (number, word)"),
        ("a.png,0\nb.png,cat\n", "several kinds (number, word)"),
        ("a.png," + "x" * 300, "has a label of 300 characters: it may have 255"),
        ("./a.png 0\na.png 1\n", "names 1 images twice"),
        ("a.png 0\nb//../a.png 1\n", "names 1 images twice"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        opening.open_source(f"{tmp_path}/list.csv").listing()
    assert message in str(caught.value)


def test_utf_16_that_is_none_is_one_line(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"\xff\xfea.png 0")
    with pytest.raises(BadInput, match="begins as UTF-16 and is none"):
        opening.open_source(f"{tmp_path}/list.csv").listing()


def test_a_name_stands_as_it_is_where_such_a_file_is_there(tmp_path):
    names = pets(tmp_path)
    odd = ["path,label", "im\\a.png", '"q".png', "b.png (copy 2)"]
    for name in odd:
        (tmp_path / name).write_bytes((tmp_path / names[0]).read_bytes())
    (tmp_path / "list.txt").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate([*odd, *names[1:]])))
    images = load([tmp_path / "list.txt"], tmp_path, bad=0)
    assert images.names == [*odd, *names[1:]]


def test_a_first_line_of_titles_is_one_only_where_no_such_file_is(tmp_path):
    (tmp_path / "list.csv").write_text("image,label\na.png,cat\n")
    before = opening.open_source(f"{tmp_path}/list.csv").listing().records
    (tmp_path / "image").touch()
    after = opening.open_source(f"{tmp_path}/list.csv").listing().records
    assert [record.name for record in before] == ["a.png"]
    assert [record.name for record in after] == ["image", "a.png"]


def test_listed_copies_that_programs_have_made_are_passed_over(tmp_path):
    names = pets(tmp_path)
    more = ["im/class0/._000.png", "__MACOSX/im/000.png", "im/class1/.ipynb_checkpoints/000-checkpoint.png"]
    text = "".join(f"{name} {int('class1' in name)}\n" for name in [*names, *more])
    (tmp_path / ".kept").mkdir()
    (tmp_path / "im").rename(tmp_path / ".kept" / "im")  # a hidden folder on the way is somebody's
    (tmp_path / "list.txt").write_text(text.replace("im/", ".kept/im/"))
    listing = opening.open_source(f"{tmp_path}/list.txt").listing()
    assert [record.name for record in listing.records] == [name.replace("im/", ".kept/im/") for name in names]
    assert listing.notes[0].startswith("passed over 1 hidden name (")
    assert "2 foreign folder's files (" in listing.notes[0]


def test_listed_images_without_a_label_are_kept_and_told(tmp_path):
    names = pets(tmp_path)
    labels = ["-1", "nan", "-1.0", *["0", "1"] * 4, "2"]
    (tmp_path / "list.txt").write_text("".join(f"{n} {k}\n" for n, k in zip(names, labels, strict=True)))
    listing = opening.open_source(f"{tmp_path}/list.txt").listing()
    assert [record.label for record in listing.records] == [None, None, None, *[0, 1] * 4, 2]
    assert listing.notes == ["3 of 12 images have no label (null, NaN or -1): probes leave them out"]


def test_the_numbers_of_lines_are_no_labels(tmp_path):
    names = pets(tmp_path)
    (tmp_path / "list.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)))
    listing = opening.open_source(f"{tmp_path}/list.txt").listing()
    assert not listing.classes
    assert [record.label for record in listing.records] == [None] * 12
    assert listing.notes == ["column 'label' is taken for no label, since nearly every row has a value of its own (12 in 12)"]  # fmt: skip
