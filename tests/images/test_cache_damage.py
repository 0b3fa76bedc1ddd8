"""Damaged caches: noticed when they are opened, built anew with one line that says so; cut while they are read: one line."""

import dataclasses
import errno
import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import load, write_folder

from lens.base.errors import BadInput
from lens.images import batching

SIZE = 8
COUNT = 12


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, of which the third cannot be read: positions and squares are not the same."""
    place = write_folder(tmp_path / "photos", COUNT // 2)
    (place / "class0" / "002.png").write_bytes(b"no image")
    return place


@pytest.fixture
def cache(folder, tmp_path):
    """The folder of a cache that has just been built."""
    load([folder], tmp_path, SIZE, bad=0.2)
    (place,) = (tmp_path / "cache").iterdir()
    return place


def seen(images):
    """All that a run sees of its images."""
    pixels = images.fetch(np.arange(len(images))).numpy().tobytes()
    return pixels, images.names, images.label.tolist(), images.skipped, images.splits()


def said(capsys):
    """What was said of damaged caches."""
    return [line for line in capsys.readouterr().err.splitlines() if "image cache" in line]


# --- when it is opened -----------------------------------------------------------------------------------------------


def rewritten(place, **changes):
    """Write meta.json with other values, and the checksum that belongs to them."""
    from lens.images.cache_folder import Meta

    file = place / "meta.json"
    file.write_text(dataclasses.replace(Meta.read(file, COUNT), **changes).text())


def relabelled(place):
    """The squares move to other images: the one that was skipped is another, in a file that is otherwise right."""
    found = json.loads((place / "meta.json").read_text())
    found["kept"] = [position for position in range(COUNT) if position != 5]
    found["skipped"][0][0] = 5
    (place / "meta.json").write_text(json.dumps(found))


def replaced_by(kind, name):
    def change(place):
        file = place / name
        shutil.move(file, place.parent.parent / "elsewhere")
        if kind == "link":
            file.symlink_to(place.parent.parent / "elsewhere")
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()

    return change


def overwrite(name, content):
    return lambda place: (place / name).write_bytes(content)


def patched(change):
    """Change the bytes of images.npy, keeping its time."""

    def apply(place):
        file = place / "images.npy"
        status = file.stat()
        file.write_bytes(change(file.read_bytes()))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    return apply


def swapped(content):
    row = SIZE * SIZE * 3
    first, second = content[128 : 128 + row], content[128 + row : 128 + 2 * row]
    return content[:128] + second + first + content[128 + 2 * row :]


def shaped(text):
    """Another header of the same length."""
    return patched(
        lambda content: content[:8] + struct.pack("<H", 118) + text.encode().ljust(117) + b"\n" + content[128:]
    )


KEPT = [position for position in range(COUNT) if position != 2]
ROW = SIZE * SIZE * 3
DAMAGE = {
    "meta empty": overwrite("meta.json", b""),
    "meta torn": lambda place: os.truncate(place / "meta.json", 100),
    "meta garbage": overwrite("meta.json", b"\x00\xff{[\n"),
    "meta nested": overwrite("meta.json", b"[" * 100_000),
    "meta huge number": overwrite("meta.json", b'{"kept": [' + b"9" * 5000 + b"]}"),
    "meta missing": lambda place: (place / "meta.json").unlink(),
    "meta no mapping": overwrite("meta.json", b"[]"),
    "meta wrong keys": overwrite("meta.json", b'{"keep": [], "skipped": []}'),
    "meta without hashes": overwrite("meta.json", json.dumps({"kept": KEPT, "skipped": []}).encode()),
    "meta of other types": lambda place: rewritten(place, kept=[str(position) for position in KEPT]),
    "meta far too large": lambda place: os.truncate(place / "meta.json", 2**33),
    "meta a pipe": replaced_by("pipe", "meta.json"),
    "meta a link": replaced_by("link", "meta.json"),
    "meta a folder": replaced_by("folder", "meta.json"),
    "labels shifted": lambda place: rewritten(place, kept=[position + 1 for position in KEPT]),
    "labels permuted": lambda place: rewritten(place, kept=KEPT[::-1]),
    "labels twice": lambda place: rewritten(place, kept=[0, *KEPT[1:-1], 0]),
    "labels moved": relabelled,
    "too few": lambda place: rewritten(place, kept=KEPT[:-1]),
    "too few hashes": lambda place: rewritten(place, content=["0" * 32] * 3),
    "no hashes": lambda place: rewritten(place, content=["../x"] * len(KEPT)),
    "squares missing": lambda place: (place / "images.npy").unlink(),
    "squares empty": lambda place: os.truncate(place / "images.npy", 0),
    "squares short": lambda place: os.truncate(place / "images.npy", 128 + ROW),
    "squares long": lambda place: os.truncate(place / "images.npy", 128 + 20 * ROW),
    "squares of another size": shaped(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({4 * COUNT}, 4, 4, 3), }}"),
    "squares of another type": shaped("{'descr': '|i1', 'fortran_order': False, 'shape': (12, 8, 8, 3), }"),
    "squares in another order": shaped("{'descr': '|u1', 'fortran_order': True, 'shape': (12, 8, 8, 3), }"),
    "squares all zeros": patched(lambda content: content[:128] + bytes(len(content) - 128)),
    "squares without a header": patched(lambda content: bytes(128) + content[128:]),
    "squares swapped": patched(swapped),
    "one bit": patched(lambda content: content[:5000 % len(content)] + bytes([content[1000] ^ 1]) + content[5000 % len(content) + 1 :]),
    "squares a pipe": replaced_by("pipe", "images.npy"),
    "squares a link": replaced_by("link", "images.npy"),
    "squares a folder": replaced_by("folder", "images.npy"),
    "all gone": lambda place: [file.unlink() for file in place.iterdir()],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_built_anew_and_says_so(folder, cache, tmp_path, capsys, damage):
    before = seen(load([folder], tmp_path, SIZE, bad=0.2))
    capsys.readouterr()
    DAMAGE[damage](cache)
    elsewhere = tmp_path / "elsewhere"
    content = elsewhere.read_bytes() if elsewhere.exists() else None
    assert seen(load([folder], tmp_path, SIZE, bad=0.2)) == before
    (line,) = said(capsys)
    assert line.startswith(f"the image cache {cache} is damaged (")
    assert line.endswith("): it is built anew")
    assert seen(load([folder], tmp_path, SIZE, bad=0.2)) == before
    assert not said(capsys)
    assert [entry.name for entry in cache.parent.iterdir()] == [cache.name]
    assert content is None or elsewhere.read_bytes() == content


@pytest.mark.parametrize("kind", ["link", "link to nothing", "file", "pipe"])
def test_what_stands_in_a_caches_place_is_moved_aside_and_left_as_it_is(folder, cache, tmp_path, capsys, kind):
    before = seen(load([folder], tmp_path, SIZE, bad=0.2))
    cache.rename(tmp_path / "elsewhere")
    held = {file.name: file.read_bytes() for file in (tmp_path / "elsewhere").iterdir()}
    if kind.startswith("link"):
        cache.symlink_to(tmp_path / ("elsewhere" if kind == "link" else "nowhere"))
    elif kind == "file":
        cache.write_bytes(b"mine")
    else:
        os.mkfifo(cache)
    assert seen(load([folder], tmp_path, SIZE, bad=0.2)) == before
    (line,) = said(capsys)
    assert "a link or a file is in its place" in line
    assert {file.name: file.read_bytes() for file in (tmp_path / "elsewhere").iterdir()} == held
    (aside,) = (entry for entry in cache.parent.iterdir() if entry != cache)
    assert aside.name in line
    assert aside.is_symlink() == kind.startswith("link")
    assert kind != "file" or aside.read_bytes() == b"mine"


def test_a_damaged_cache_that_cannot_be_removed_is_one_line(folder, cache, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EROFS, "Read-only file system")

    os.truncate(cache / "images.npy", 200)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BadInput, match=r"is damaged \(images.npy has 200 bytes.* cannot be removed \(Read-only .* delete it, or choose another --cache_dir"):  # fmt: skip
        load([folder], tmp_path, SIZE, bad=0.2)
    assert (cache / "images.npy").stat().st_size == 200


def test_a_cache_that_may_not_be_read_is_not_thrown_away(folder, cache, tmp_path, monkeypatch):
    from lens.images import cache_folder

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cache_folder, "read_bytes", refuse)
    with pytest.raises(BadInput, match=r"cannot be read \(Permission denied\): fix its permissions, or choose another"):
        load([folder], tmp_path, SIZE, bad=0.2)
    assert (cache / "images.npy").exists()


# --- when it need not be compared ------------------------------------------------------------------------------------


@pytest.fixture
def compared(monkeypatch):
    """How often all squares were read and compared."""
    from lens.images.squares_file import SquaresFile

    times, real = [], SquaresFile.checksum
    monkeypatch.setattr(SquaresFile, "checksum", lambda *arguments: (times.append(1), real(*arguments))[1])
    return times


def test_squares_are_compared_once_for_each_state_of_their_file(folder, cache, tmp_path, compared, capsys):
    for _ in range(2):
        load([folder], tmp_path, SIZE, bad=0.2)
    assert not compared  # nothing has changed since they were written
    os.utime(cache / "images.npy")
    for _ in range(2):
        load([folder], tmp_path, SIZE, bad=0.2)
    assert len(compared) == 1
    copy = shutil.copytree(cache, tmp_path / "copy")  # of the same size and times
    shutil.rmtree(cache)
    copy.rename(cache)
    for _ in range(2):
        load([folder], tmp_path, SIZE, bad=0.2)
    assert len(compared) == 2
    assert not said(capsys)


@pytest.mark.parametrize("note", [b"", b"\xff", b"[" * 4000, b"{}", b"0" * 10_000, "pipe", "folder", "read-only"])
def test_without_a_note_squares_are_compared_each_time(folder, cache, tmp_path, compared, capsys, monkeypatch, note):
    from lens.images import cache_folder

    def refuse(*arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    (cache / "verified.json").unlink()
    if note == "pipe":
        os.mkfifo(cache / "verified.json")
    elif note == "folder":
        (cache / "verified.json").mkdir()
    elif note != "read-only":
        (cache / "verified.json").write_bytes(note)
    if note in ("folder", "read-only"):
        monkeypatch.setattr(cache_folder, "write_atomically", refuse)
    for _ in range(2):
        load([folder], tmp_path, SIZE, bad=0.2)
    assert len(compared) == (2 if note in ("folder", "read-only") else 1)
    assert not said(capsys)


# --- while it is read ------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_array(cache):
    from lens.images.cache_folder import opened

    squares, _ = opened(cache, COUNT, SIZE, lambda *done: None)
    array = np.load(cache / "images.npy")
    rng = np.random.default_rng(0)
    for index in ([], [0], [11], [3, 4, 5, 0, 1, 9, 9, 8, 7], range(COUNT), rng.integers(0, COUNT, 100)):
        assert np.array_equal(squares[np.array(index, np.int64)], array[np.array(index, np.int64)])
    again = pickle.loads(pickle.dumps(squares))  # as a spawned reader gets it
    assert np.array_equal(again[np.arange(COUNT)], array)
    with pytest.raises(AssertionError):
        squares[np.array([COUNT])]


def changes(cache):
    file = cache / "images.npy"

    def rewrite():
        with open(file, "r+b") as stream:
            stream.seek(128)
            stream.write(bytes(ROW))

    return {"cut": lambda: os.truncate(file, 128 + ROW), "empty": lambda: os.truncate(file, 0), "rewritten": rewrite}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("change", ["cut", "empty", "rewritten"])
def test_a_cache_that_changes_while_it_is_read_is_one_line(folder, cache, tmp_path, change, workers):
    images = load([folder], tmp_path, SIZE, bad=0.2)
    batches = batching.training_batches(images, 2, 0, 0, 400, workers)
    next(batches)
    changes(cache)[change]()
    with pytest.raises(BadInput, match=r"the image cache .*images.npy was damaged while it was in use .* start again"):
        for _ in batches:
            pass


def test_a_cache_that_is_cut_between_two_looks_at_it_is_one_line(cache, monkeypatch):
    from lens.images import squares_file
    from lens.images.cache_folder import opened

    squares, _ = opened(cache, COUNT, SIZE, lambda *done: None)
    os.truncate(cache / "images.npy", 128 + ROW)
    monkeypatch.setattr(squares_file, "state_of", lambda status: squares.state)
    with pytest.raises(BadInput, match="it ends too early"):
        squares[np.arange(COUNT)]


def test_a_spawned_reader_is_given_no_other_file(cache):
    from lens.images.cache_folder import opened

    squares, _ = opened(cache, COUNT, SIZE, lambda *done: None)
    sent = pickle.dumps(squares)
    shutil.copy(cache / "images.npy", cache / "other")
    (cache / "other").rename(cache / "images.npy")
    with pytest.raises(BadInput, match="it is another file by now"):
        pickle.loads(sent)[np.arange(COUNT)]
    assert squares[np.arange(COUNT)].shape == (COUNT, SIZE, SIZE, 3)  # its own is still open


# --- what lies beside it ---------------------------------------------------------------------------------------------


def test_sweeping_half_built_caches_follows_no_link(folder, tmp_path):
    outside = write_folder(tmp_path / "outside", 2)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f".building-a-8-{0:032x}-x").symlink_to(outside)
    (tmp_path / "cache" / f".building-a-8-{0:032x}-y").mkdir()
    (tmp_path / "cache" / f".building-a-8-{0:032x}-y" / "up").symlink_to(outside)
    for place in (outside, tmp_path / "cache" / f".building-a-8-{0:032x}-y"):
        os.utime(place, (0, 0))
    load([folder], tmp_path, SIZE, bad=0.2)
    assert len(list(outside.rglob("*.png"))) == 4
    assert not (tmp_path / "cache" / f".building-a-8-{0:032x}-y").exists()
