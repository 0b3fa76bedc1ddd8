"""Images, lists and tables that were made to harm, or that are only odd: read rightly, counted, or refused in one line."""

import concurrent.futures
import contextlib
import datetime
import io
import json
import math
import os
import signal
import socket
import stat
import tarfile

import datasets
import numpy as np
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest
from pictures import load, picture, write_folder
from tiny import TINY

from lens import probe, train
from lens.base import patterns
from lens.base.errors import BadInput
from lens.images import decoding, divide, opening, splits
from lens.protocols.source import Listing, Record
from lens.sources._files import FORMATS, open_image


@pytest.fixture(autouse=True)
def _nothing_hangs():
    """Every test here ends: what waits for a pipe, or for ever, is interrupted."""

    def interrupt(number, frame):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def encoded(form="PNG", label=0, seed=0, **options):
    buffer = io.BytesIO()
    picture(np.random.default_rng(seed), label, (20, 20)).save(buffer, form, **options)
    return buffer.getvalue()


# --- images ----------------------------------------------------------------------------------------------------------

POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n(touched) (w) file closefile\nshowpage\n"
)


def test_postscript_never_reaches_ghostscript(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    asked = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: asked.append(arguments))
    folder = write_folder(tmp_path / "a", 10)
    for name in ("000.png", "0001.jpg"):
        (folder / "class0" / name).write_bytes(POSTSCRIPT)
    images = load([folder], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == ["class0/000.png", "class0/0001.jpg"]
    assert all("it is none of JPEG, PNG" in entry.reason for entry in images.skipped)
    assert "0x" not in images.skipped[0].reason  # the same words in every run
    assert not asked


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA", "PCX", "SGI", "DDS", "PDF", "XBM"])
def test_formats_that_no_source_lists_are_counted(form):
    content = io.BytesIO()
    picture(np.random.default_rng(0), 0, (32, 32)).convert("1" if form == "XBM" else "RGB").save(content, form)
    with pytest.raises(PIL.UnidentifiedImageError, match="it is none of"):
        open_image(content.getvalue())


@pytest.mark.parametrize("form", [*FORMATS, "MPO"])
def test_formats_of_photos_are_read_by_content(tmp_path, form):
    shown = picture(np.random.default_rng(0), 1)
    options = (
        {"lossless": True} if form == "WEBP" else {"save_all": True, "append_images": [shown]} if form == "MPO" else {}
    )
    file = tmp_path / "any name"
    shown.save(file, form, **options)
    for content in (file, str(file), file.read_bytes()):
        with open_image(content) as image:
            assert image.fp.getvalue() == file.read_bytes()
            square = decoding.to_square(image, 40).astype(int)
        assert np.abs(square - decoding.to_square(shown, 40)).mean() < (
            20 if form in ("GIF", "JPEG", "MPO", "AVIF") else 5
        )


def fifo(place):
    os.mkfifo(place)


def link_to_a_fifo(place):
    os.mkfifo(place.with_name("pipe"))
    place.symlink_to("pipe")


def device(place):
    place.symlink_to("/dev/zero")


def unix_socket(place):
    with socket.socket(socket.AF_UNIX) as end:
        before = os.getcwd()
        os.chdir(place.parent)  # a socket's path has 108 bytes at most
        end.bind(place.name)
        os.chdir(before)


IRREGULAR = [fifo, link_to_a_fifo, device, unix_socket]


@pytest.mark.parametrize("make", IRREGULAR)
@pytest.mark.parametrize("layout", ["folder", "list"])
def test_what_is_no_file_among_the_images_is_counted_and_never_read(tmp_path, make, layout):
    place = write_folder(tmp_path / "a", 10)
    (place / "class0" / "003.png").unlink()
    make(place / "class0" / "003.png")
    key = place
    if layout == "list":
        key = tmp_path / "list.txt"
        names = [f"a/class{label}/{number:03d}.png" for label in (0, 1) for number in range(10)]
        key.write_text("".join(f"{name} {i // 10}\n" for i, name in enumerate(names)))
    source = opening.open_source(str(key))
    names = [record.name for record in source.listing().records]
    with pytest.raises(OSError, match="it is no regular file"):
        source.read(3)
    assert names[3].endswith("class0/003.png")
    images = load([key], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == [names[3]]
    assert len(images) == 19
    assert images.label.tolist() == [0] * 9 + [1] * 10


def test_no_more_of_a_file_is_read_than_an_image_has(tmp_path):
    with open(tmp_path / "a.png", "wb") as stream:
        stream.write(encoded())
        stream.truncate(1 << 40)  # a hole: nothing on disk
    with pytest.raises(OSError, match="larger than 1,024 MiB"):
        open_image(tmp_path / "a.png")


# --- --group_by ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a{99999999999}", "is no regular expression: the repetition number is too large"),
        ("(" * 499 + ")" * 499, "nests too deep"),
        ("a" * 100_000, "has 100,000 characters: it may have 1,000"),
        ("(?P<n>a)(?P<n>b)", "is no regular expression: redefinition of group name"),
    ],
)
def test_an_expression_that_cannot_be_compiled_is_one_line(tmp_path, capsys, pattern, message):
    folder = write_folder(tmp_path / "a", 2)
    assert train.main([*TINY, "--data", str(folder), "--group_by", pattern, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lens: error: --group_by ")
    assert message in line
    assert len(line) < 1200


def test_an_expression_that_takes_for_ever_is_stopped(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    records = [Record(name) for name in ("short", "a" * 60 + ".png", "never looked at")]
    listing = Listing(records, [])
    for look in (
        lambda: splits.groups_of(records, "(a+)+$"),
        lambda: divide.refuse_unmatched("(a+)+$", ["./a"], [listing]),
    ):
        with pytest.raises(BadInput, match=r"--group_by '\(a\+\)\+\$' takes more than 0.2 s on 3 names, at 'aaaa"):
            look()
    assert splits.groups_of(records[:1], "^sh")[0] == ["sh"]


def test_the_time_limit_leaves_other_alarms_as_they_were():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    splits.groups_of([Record("a")], "a")
    signal.sigtimedwait([signal.SIGUSR1], 1)
    assert rung == [signal.SIGALRM]
    signal.signal(signal.SIGALRM, before)


def test_expressions_are_looked_for_in_other_threads_too():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        groups, found = pool.submit(splits.groups_of, [Record("a1.png"), Record("b")], r"a(\d)").result()
    assert groups == ["1", "b"]
    assert found == [True, False]


# --- paths and lists -------------------------------------------------------------------------------------------------

SHORT = [*TINY, "--steps", "1"]


def refusal(argv, capsys, main=train.main):
    """The one line that a mistake gets."""
    assert main(argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding")]
    assert line.startswith("lens: error: ")
    return line


PATHS = [
    ("./a\0b", "has a NUL character"),
    ("./" + "a" * 5000, "has 5,002 bytes: it may have 4,095"),
    ("a" * 5000, "has 5,000 bytes"),
    ("hub:me/" + "a" * 5000, "bytes"),
    ("./" + "a" * 300, "has a part of 300 bytes: it may have 255"),
    ("./loop", "cannot be opened (Too many levels of symbolic links)"),
    ("./pipe", "is a pipe, a socket or a device"),
    ("./pipe.parquet", "is a pipe, a socket or a device"),
    ("./pipe.tar", "is a pipe, a socket or a device"),
    ("./pipe.txt", "is a pipe, a socket or a device"),
    ("/dev/zero", "is a pipe, a socket or a device"),
    ("./\udcff\udcfe", "is no UTF-8"),
]


@pytest.mark.parametrize(("key", "message"), PATHS, ids=range(len(PATHS)))
@pytest.mark.parametrize("flag", ["--data", "--probe", "both"])
def test_a_path_that_is_none_is_one_line(tmp_path, monkeypatch, capsys, photos, key, message, flag):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "pipe.parquet", "pipe.tar", "pipe.txt"):
        os.mkfifo(tmp_path / name)
    argv = {
        "--data": [f"--data={key}"],
        "--probe": ["--data", str(photos), f"--probe={key}"],
        "both": ["--task", "dataset_classification", "--data", str(photos), f"--data={key}"],
    }[flag]
    line = refusal([*SHORT, *argv, "--out", "./run"], capsys)
    assert message in line
    assert len(line) < 500
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data_root", "./a\0b"], "has a NUL character"),
        (["--data_root", "a" * 5000], "has 5,000 bytes"),
        (["--data_root", "~nobody-is-called-this/x"], "there is no such user"),
        (["--out", "./\udcff"], "is no UTF-8"),
        (["--out", "a" * 5000], "has 5,000 bytes"),
        (["--config", "settings.yaml"], "has a NUL character"),
    ],
)
def test_other_paths_that_are_none_are_one_line(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(r'out: "./a\0b"')
    assert message in refusal([*SHORT, "--data", "cifar10", *argv], capsys)


def test_a_path_that_is_no_utf8_is_refused_by_probe_too(capsys):
    assert "is no UTF-8" in refusal(["./\udcff"], capsys, probe.main)


@pytest.mark.parametrize("layout", ["a.parquet", "a.tar", "trainvalsplit_places205/train_places205.csv"])
@pytest.mark.parametrize("make", [*IRREGULAR, os.mkdir])
def test_what_is_no_file_among_tables_shards_and_lists_is_one_line(tmp_path, layout, make):
    place = tmp_path / "source" / layout
    place.parent.mkdir(parents=True)
    if make is os.mkdir and layout != "trainvalsplit_places205/train_places205.csv":
        layout += "/b" + place.suffix  # a folder of that name is walked
        (tmp_path / "source" / layout).mkdir(parents=True)
        with pytest.raises(BadInput, match="holds no image file"):
            load([tmp_path / "source"], tmp_path)
        return
    make(place)
    # What opens it would wait in C, where no alarm is heard.
    with contextlib.ExitStack() as stack:
        if stat.S_ISFIFO(os.stat(place).st_mode):
            stack.callback(os.close, os.open(place, os.O_RDWR | os.O_NONBLOCK))
        with pytest.raises(BadInput, match=r"is no regular file|\(Is a directory\)|\(it is no regular file\)"):
            load([tmp_path / "source"], tmp_path)


LINES = [
    ("photos/a\0.png 0", "names no file: a path has no NUL"),
    ("a" * 5000 + ".png 0", "names no file: a path has no NUL character and at most 4,095 bytes"),
    ("photos/a.png " + "9" * 5000, "has a label of 5,000 digits: it may have 18"),
    ("\0" * 1000, "is not `path label`"),
    ("a" + " " * 300_000 + "b", "is not `path label`"),
    ("a " * 100_000 + "b", "is not `path label`"),
]


@pytest.mark.parametrize(("line", "message"), LINES, ids=range(len(LINES)))
def test_a_line_that_names_no_file_or_no_label_is_refused_by_its_number(tmp_path, line, message):
    (tmp_path / "list.txt").write_text(f"good.png 0\n{line}\n")
    with pytest.raises(BadInput, match="line 2: ") as caught:
        opening.open_source(f"{tmp_path}/list.txt").listing()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_list_with_a_name_that_is_too_long_counts_it(tmp_path):
    write_folder(tmp_path / "a", 10)
    names = [f"a/class{label}/{number:03d}.png" for label in (0, 1) for number in range(10)]
    lines = [f"{name} {i // 10}\n" for i, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("".join([*lines, "a/" + "b" * 300 + ".png 0\n"]))
    images = load([tmp_path / "list.txt"], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == ["a/" + "b" * 300 + ".png"]
    assert len(images) == 20


@pytest.mark.parametrize("letter", ["n", "ü", "猫"])
def test_names_as_long_as_a_disk_takes_them(tmp_path, monkeypatch, letter):
    monkeypatch.chdir(tmp_path)
    longest = letter * (255 // len(letter.encode()))
    place = write_folder(tmp_path / longest, 12)
    for label in (0, 1):
        (place / f"class{label}" / "003.png").rename(place / f"class{label}" / (longest[:-4] + ".png"))
        (place / f"class{label}").rename(place / f"{label}{longest[1:]}")
    assert train.main([*SHORT, "--data", f"./{longest}", "--task", "labels", "--out", "./run"]) == 0
    assert train.main(["--resume", "./run", "--steps", "2"]) == 0


def test_a_source_below_a_folder_that_is_no_utf8_is_read(tmp_path, monkeypatch):
    odd = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(odd)
    write_folder(tmp_path / "photos", 12).rename(os.fsdecode(odd + b"/photos"))
    monkeypatch.chdir(os.fsdecode(odd))
    assert len(load(["./photos"], tmp_path)) == 24
    os.symlink(odd, tmp_path / "plain")
    assert len(load([tmp_path / "plain" / "photos"], tmp_path)) == 24


# --- tables ----------------------------------------------------------------------------------------------------------

N = 20
PICTURES = [encoded(label=i % 2, seed=i) for i in range(N)]
LABELS = [i % 2 for i in range(N)]
NAMED = {"image": {"_type": "Image"}, "label": {"names": ["blue", "red"], "_type": "ClassLabel"}}


def structs(contents=PICTURES):
    return pyarrow.array(
        [None if content is None else {"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)],
        pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
    )


def table(features=None, **columns):
    """A table of pictures and labels; `features` are what its Hugging Face metadata says, or its bytes."""
    found = pyarrow.table({"image": structs(), "label": pyarrow.array(LABELS, pyarrow.int64())} | columns)
    if features is not None:
        text = features if isinstance(features, bytes) else json.dumps({"info": {"features": features}}).encode()
        found = found.replace_schema_metadata({"huggingface": text})
    return found


def written(place, *tables):
    """The tables as files of one folder."""
    place.mkdir()
    for number, one in enumerate(tables):
        pyarrow.parquet.write_table(one, place / f"{number}.parquet")
    return place


def redder(images):
    shown = images.fetch(np.arange(len(images))).float()
    return ((shown[:, 0] - shown[:, 2]).mean(dim=(1, 2)) > 0).numpy()


def named(**feature):
    return NAMED | {"label": {"_type": "ClassLabel"} | feature}


def dated(*days):
    return pyarrow.array([datetime.date(2020, 1, days[i % len(days)]) for i in range(N)])


READ = {
    "a map": (table(meta=pyarrow.array([[("w", "1")]] * N, pyarrow.map_(pyarrow.string(), pyarrow.string()))), ["0", "1"]),
    "named": (table(NAMED), ["blue", "red"]),
    "an unknown feature": (table(NAMED | {"meta": {"_type": "Json", "x": 1}}, meta=["{}"] * N), ["blue", "red"]),
    "an unknown image feature": (table(NAMED | {"image": {"_type": "Hologram"}}), ["blue", "red"]),
    "other features of other types": (table(NAMED | {"a": 3, "b": [1], "c": None, "d": {"_type": {}}}), ["blue", "red"]),
    "no features": (table({}), ["0", "1"]),
    "a name file": (table(named(names_file="/proc/kmsg")), ["0", "1"]),
    "words in a column of names": (table(NAMED, label=["a", "b"] * 10), ["a", "b"]),
    "bytes": (table(label=pyarrow.array([b"cat", "hündin".encode()] * 10)), ["cat", "hündin"]),
    "dictionary": (table(label=pyarrow.array(["a", "b"] * 10).dictionary_encode()), ["a", "b"]),
    "dates": (table(label=dated(1, 2)), ["2020-01-01", "2020-01-02"]),
    "floats": (table(label=pyarrow.array([float(label) for label in LABELS])), ["0", "1"]),
    "plain bytes": (table(image=pyarrow.array(PICTURES)), ["0", "1"]),
    "large bytes": (table(image=pyarrow.array(PICTURES, pyarrow.large_binary())), ["0", "1"]),
    "other duplicates": (
        pyarrow.Table.from_arrays([structs(), pyarrow.array(LABELS), *[pyarrow.array(LABELS)] * 2], ["image", "label", "x", "x"]),
        ["0", "1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", READ)
def test_an_odd_table_is_read_rightly(tmp_path, title):
    one, classes = READ[title]
    images = load([written(tmp_path / "t", one)], tmp_path, image_column="image", label_column="label")
    assert images.classes == [classes]
    assert images.label.tolist() == LABELS
    assert (redder(images) == (images.label == 1)).all()


REFUSED = {
    "too large": ([table(NAMED, label=[0, 7] * 10)], "10 labels of column 'label' are outside of its 2 class names, such as 7"),
    "too small": ([table(NAMED, label=[0, -2] * 10)], "outside of its 2 class names, such as -2"),
    "too large for Python's": ([table(NAMED, label=pyarrow.array([0, 2**64 - 1] * 10, pyarrow.uint64()))], "outside"),
    "no names": ([table(named(names=[]))], "outside of its 0 class names"),
    "kept back everywhere": ([table(NAMED, label=[-1] * N)], "holds no label in its 20 rows"),
    "all NaN": ([table(label=[math.nan] * N)], "holds no label in its 20 rows"),
    "null type": ([table(label=pyarrow.nulls(N))], "holds no label in its 20 rows"),
    "infinity": ([table(label=[0.0, math.inf] * 10)], "a label is inf"),
    "a fraction among names": ([table(NAMED, label=[0.0, 0.5] * 10)], "outside of its 2 class names, such as 0.5"),
    "no label in one file": ([table(), table().drop_columns("label")], "1.parquet has no column 'label', which holds the labels of"),
    "mixed": ([table(), table(label=["0", "1"] * 10)], "labels are of several kinds (number, word)"),
    "mixed with true": ([table(), table(label=[True, False] * 10)], "labels are of several kinds (bool, number)"),
    "mixed with dates": ([table(), table(label=dated(1, 2))], "labels are of several kinds (date, number)"),
    "a list": ([table(label=[[1, 2]] * N)], "a label is [1, 2], not one word or number"),
    "a struct": ([table(label=[{"a": 1}] * N)], "not one word or number"),
    "a map": ([table(label=pyarrow.array([[("w", 1)]] * N, pyarrow.map_(pyarrow.string(), pyarrow.int8())))], "not one word"),
    "bytes that are no word": ([table(label=[b"\xff"] * N)], "bytes that are no word"),
    "a word that is none": (
        [table(label=pyarrow.StringArray.from_buffers(1, pyarrow.array([0, 1], pyarrow.int32()).buffers()[1], pyarrow.py_buffer(b"\xff")).take([0] * N))],
        "cannot be read|is damaged",
    ),
    "other names": ([table(NAMED), table(named(names=["red", "blue"]))], "has other class names in column 'label'"),
    "names in one file": ([table(NAMED), table()], "has other class names in column 'label'"),
    "equal names": ([table(named(names=["a", "a"]))], "no list of different words"),
    "names of another type": ([table(named(names={"a": 0}))], "no list of different words"),
    "names that are no words": ([table(named(names=[[1], 2]))], "no list of different words"),
    "metadata that is no JSON": ([table(b"\xff no JSON")], "Hugging Face metadata that cannot be read"),
    "deep metadata": ([table(b"[" * 100_000)], "Hugging Face metadata that cannot be read (RecursionError"),
    "metadata of another type": ([table(b"[1]")], "Hugging Face metadata that cannot be read"),
    "features of another type": ([table([1, 2])], "Hugging Face metadata that cannot be read"),
    "long numbers in metadata": ([table(b'{"info": %s}' % (b"9" * 5000))], "Hugging Face metadata that cannot be read"),
    "two images": (
        [pyarrow.Table.from_arrays([structs(), structs(), pyarrow.array(LABELS)], ["image", "image", "label"])],
        "has several columns that are called 'image'",
    ),
    "two labels": (
        [pyarrow.Table.from_arrays([structs(), *[pyarrow.array(LABELS)] * 2], ["image", "label", "label"])],
        "has several columns that are called 'label'",
    ),
    "a struct without bytes": ([table(image=[{"path": "a.png"}] * N)], "column 'image' holds no images"),
    "bytes that are numbers": ([table(image=[{"bytes": 3}] * N)], "column 'image' holds no images"),
    "an image that is a number": ([table(image=[10**12] * N)], "column 'image' holds no images"),
    "images in one file": ([table(), table(image=["a.png"] * N)], "1.parquet: column 'image' holds no images"),
    "only null images": ([table(image=structs([None] * N))], "its row holds no image"),
    "images by path": ([table(image=[{"bytes": None, "path": "/etc/hostname"}] * N)], "holds no images"),
    "no rows": ([table().slice(0, 0)], "holds no rows"),
}  # fmt: skip


@pytest.mark.parametrize("title", REFUSED)
def test_a_table_that_cannot_be_meant_is_one_line(tmp_path, title):
    tables, message = REFUSED[title]
    with pytest.raises(BadInput) as caught:
        load([written(tmp_path / "t", *tables)], tmp_path, image_column="image", label_column="label")
    assert any(part in str(caught.value) for part in message.split("|")), str(caught.value)
    assert len(str(caught.value)) < 700


def test_labels_that_are_kept_back_make_val_the_test_split_in_parquet_too(tmp_path):
    (tmp_path / "t").mkdir()
    for split, labels in (("train", LABELS), ("test", [-1] * N), ("validation", LABELS)):
        pyarrow.parquet.write_table(table(NAMED, label=labels), tmp_path / "t" / f"{split}-0.parquet")
    images = load([tmp_path / "t"], tmp_path)
    assert {images.names[i].split("-")[0] for i in images.indices("test")} == {"validation"}
    assert len(images) == 2 * N
    assert (redder(images) == (images.label == 1)).all()


def test_images_that_are_null_or_only_named_are_counted(tmp_path):
    contents = [None if i == 3 else content for i, content in enumerate(PICTURES)]
    images = load([written(tmp_path / "t", table(image=structs(contents)))], tmp_path, bad=0.1)
    assert [(entry.name, entry.reason) for entry in images.skipped] == [
        ("0.parquet:3", "ValueError: its row holds no image: a path alone is not followed")
    ]
    assert (redder(images) == (images.label == 1)).all()


def test_a_parquet_file_that_claims_more_than_it_holds_is_refused(tmp_path):
    # A column of one repeated value: a thousand million rows in a few hundred bytes.
    empty = pyarrow.array([b""], pyarrow.binary()).dictionary_encode().dictionary
    many = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(10**6, np.int8)), empty)
    place = written(tmp_path / "t", pyarrow.table({"image": many.cast(pyarrow.binary()), "label": many.indices}))
    with pytest.raises(BadInput, match=r"claims 1,000,000 rows of 2 columns in [\d,]+ bytes: it is damaged"):
        load([place], tmp_path)


def test_a_row_group_that_cannot_be_read_is_tried_once(tmp_path, monkeypatch):
    place = written(tmp_path / "t", table())
    content = bytearray((place / "0.parquet").read_bytes())
    content[4:200] = b"\xff" * 196
    (place / "0.parquet").write_bytes(content)
    source = opening.open_source(f"{place}", label_column="label")
    tried = []
    real = pyarrow.parquet.ParquetFile.read_row_group
    monkeypatch.setattr(
        pyarrow.parquet.ParquetFile,
        "read_row_group",
        lambda *args, **options: tried.append(1) or real(*args, **options),
    )
    for position in range(len(source.listing().records)):
        with pytest.raises(ValueError, match=r"0.parquet is damaged \("):
            source.read(position)
    assert len(tried) == 1


def test_a_folder_that_is_called_parquet_is_walked(tmp_path):
    images = load([written(tmp_path / "t.parquet", table(NAMED))], tmp_path)
    assert images.classes == [["blue", "red"]]


# --- hub and shards --------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """A hub whose one data set a test puts there."""
    held = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config=None, **options: datasets.DatasetDict(held))
    return held


def rows(images, labels):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])})
    return datasets.Dataset(pyarrow.table({"img": images, "label": labels}).cast(features.arrow_schema))


def test_a_hub_row_leads_to_no_file_outside(tmp_path, monkeypatch, hub):
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    for place in ("downloads", "elsewhere", "downloads-of-another"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.png").write_bytes(PICTURES[1])
    (tmp_path / "downloads" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    paths = [tmp_path / name for name in ("downloads/a.png", "elsewhere/a.png", "downloads-of-another/a.png", "downloads/../elsewhere/a.png", "downloads/link.png")]  # fmt: skip
    images = [{"bytes": None, "path": str(path)} for path in paths] + [{"bytes": None, "path": None}, None]
    hub["train"] = rows(images, [0] * len(images))
    source = opening.open_source("hub:me/pictures")
    assert source.read(0).size == (20, 20)
    for position in range(1, len(images)):
        with pytest.raises(ValueError, match="its row holds no image"):
            source.read(position)


def test_a_hub_label_outside_of_its_names_is_refused(hub):
    hub["train"] = rows([{"bytes": content, "path": None} for content in PICTURES], [0, 7] * 10)
    with pytest.raises(BadInput, match="10 labels of column 'label' are outside of its 2 class names, such as 7"):
        opening.open_source("hub:me/pictures").listing()


def shard(file, members):
    """An archive of members: a name, and its content as bytes or its type as a letter."""
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content.encode(), "/etc/hostname"
                archive.addfile(member)
    return file


def test_a_shard_writes_nothing_outside_and_follows_no_link(tmp_path):
    harmless = [(f"{i:03d}.{kind}", content) for i in range(N) for kind, content in (("png", PICTURES[i]), ("cls", b"%d" % (i % 2)))]  # fmt: skip
    harmful = [
        *[(f"{name}.png", kind) for name, kind in (("pipe", tarfile.FIFOTYPE.decode()), ("link", tarfile.SYMTYPE.decode()), ("hard", tarfile.LNKTYPE.decode()), ("disk", tarfile.BLKTYPE.decode()), ("folder", tarfile.DIRTYPE.decode()))],
        ("../../escaped.png", PICTURES[0]), ("../../escaped.cls", b"0"), ("/escaped.png", PICTURES[1]), ("/escaped.cls", b"1"),
    ]  # fmt: skip
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    images = load([shard(tmp_path / "a" / "b" / "c" / "a.tar", [*harmless, *harmful])], tmp_path)
    assert len(images) == N + 2
    assert images.classes == [["0", "1"]]
    assert (redder(images) == (images.label == 1)).all()
    assert not [path for path in tmp_path.rglob("*escaped*")]
    assert not os.path.exists("/escaped.png")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.png", PICTURES[0]), ("0.cls", b"9" * 5000)], "cannot be loaded"),
        ([("0.png", PICTURES[0]), ("0.cls", b"cat")], "cannot be loaded"),
        ([("0.png", PICTURES[0]), ("0.json", b"[" * 100_000)], "cannot be loaded"),
        ([("0.png", PICTURES[0]), ("0.json", b'{"label": [1, 2]}')], "not one word or number"),
        ([("0.png", PICTURES[0]), ("0.png", PICTURES[1])], "cannot be loaded"),
        ([("0.png", tarfile.FIFOTYPE.decode())], "cannot be loaded"),
        ([(b"\xff.png".decode("utf-8", "surrogateescape"), PICTURES[0]), (b"\xff.cls".decode("utf-8", "surrogateescape"), b"0")], "cannot be loaded"),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_shard_that_cannot_be_meant_is_one_line(tmp_path, capsys, members, message):
    key = str(shard(tmp_path / "a.tar", members))
    argv = [*TINY, "--data", key, "--cache_dir", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    assert train.main(argv) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lens: error: ")]
    assert message in line


# --- bytes that were changed at random -------------------------------------------------------------------------------


def mutated(content, rng):
    """The bytes with some of them changed, cut out, doubled or cut off; the end, where a table has its footer, most often."""
    found = bytearray(content)
    low = int(rng.choice([0, max(0, len(found) - 2000)]))
    for place in rng.integers(low, len(found), rng.integers(1, 6)).tolist():
        found[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    kind, (first, last) = rng.integers(6), sorted(rng.integers(0, len(found), 2).tolist())
    if kind == 0:
        del found[first : min(last, first + 20)]
    elif kind == 1:
        found[first:first] = found[first : min(last, first + 20)]
    elif kind == 2:
        del found[last:]
    return bytes(found)


def written_bytes(one):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(one, stream, row_group_size=7)
    return stream.getvalue()


def list_of(place):
    names = [f"{name}/{number:03d}.png" for name in ("class0", "class1") for number in range(4)]
    return "".join(f"{name} {name[5]}\n" for name in names).encode(), write_folder(place, 4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["named.parquet", "plain.parquet", "list.txt", "PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "MPO"])  # fmt: skip
def test_bytes_changed_at_random_are_read_counted_or_refused(tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    whole, place = b"", tmp_path
    if kind == "list.txt":
        whole, place = list_of(tmp_path / "pictures")
    elif kind.endswith("parquet"):
        whole = written_bytes(table(NAMED if kind.startswith("named") else None))
    for number in range(12):
        file = place / f"{number}-{kind}"
        if kind.isupper() or kind == "JPEG2000":
            place = write_folder(tmp_path / f"{number}", 1)
            options = {"save_all": True, "append_images": [picture(rng, 1)]} if kind == "MPO" else {}
            file = place / "class0" / "odd.png"
            file.write_bytes(mutated(encoded(kind, seed=number, **options), rng))
            key = place
        else:
            file.write_bytes(mutated(whole, rng))
            key = file
        with contextlib.suppress(BadInput):
            images = load([key], tmp_path, size=8, bad=1.0)
            assert images.label.min() >= -1
            assert images.label.max() < max(len(images.classes[0]), 1)
            assert len(set(images.names)) == len(images.names)
            assert images.fetch(np.arange(len(images))).shape[1:] == (3, 8, 8)
