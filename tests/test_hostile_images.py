"""Images, lists and tables that were made to harm, or that are only odd: read rightly, counted, or refused in one line."""

import concurrent.futures
import io
import os
import signal
import socket

import numpy as np
import PIL.Image
import pytest
from conftest import TINY, picture, write_folder
from test_data import load

from lens import cache, divide, opening, patterns, splits, train
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
