"""Images, lists and tables that were made to harm, or that are only odd: read rightly, counted, or refused in one line."""

import concurrent.futures
import contextlib
import io
import os
import signal
import socket
import stat

import numpy as np
import PIL.Image
import pytest
from conftest import TINY, picture, write_folder
from test_data import load

from lens import cache, divide, opening, patterns, probe, splits, train
from lens.protocols import BadInput, Listing, Record
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
            square = cache.to_square(image, 40).astype(int)
        assert np.abs(square - cache.to_square(shown, 40)).mean() < (20 if form in ("GIF", "JPEG", "MPO") else 5)


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
    ("./" + "a" * 300, "cannot be opened (File name too long)"),
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
        (["--data_root", "~nobody-is-called-this/x"], "Could not determine home directory"),
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
