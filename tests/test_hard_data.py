"""Images, names, folders and disks at their worst: counted or refused in one line, never a crash or a wrong label."""

import gzip
import json
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from conftest import TINY, picture, write_folder
from test_data import load

from lens import cache, data, train
from lens.protocols import BadInput


# --- folders ---------------------------------------------------------------------------------------------------------


def test_links_that_lead_nowhere_are_counted_and_loops_end(tmp_path):
    folder = write_folder(tmp_path / "a", 10)
    (folder / "class0" / "up").symlink_to(folder)
    (folder / "class0" / "005.jpg").symlink_to(tmp_path / "gone.jpg")
    (folder / "class0" / "loop.png").symlink_to("loop.png")
    images = load([folder], tmp_path, bad=0.1)
    assert sorted(entry.name for entry in images.skipped) == ["class0/005.jpg", "class0/loop.png"]
    assert len(images) == 20


def test_a_folder_that_cannot_be_read_is_refused_and_not_passed_over(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 3)
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "class1":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadInput, match=r"cannot read the folder .*class1 \(Permission denied\)"):
        load([folder], tmp_path)


def test_images_are_listed_by_folder_and_each_keeps_its_label(tmp_path):
    for name in ("b", "a b", "a", "a/deep"):
        (tmp_path / "f" / name).mkdir(parents=True)
        for file in ("2.png", "10.PNG", "notes.txt"):
            (tmp_path / "f" / name / file).write_bytes(b"x")
    listing = data.open_source(f"{tmp_path}/f").listing()
    assert listing.classes == ["a", "a b", "b"]
    assert [(record.name, record.label) for record in listing.records] == [
        ("a/10.PNG", 0), ("a/2.png", 0), ("a/deep/10.PNG", 0), ("a/deep/2.png", 0),
        ("a b/10.PNG", 1), ("a b/2.png", 1), ("b/10.PNG", 2), ("b/2.png", 2),
    ]  # fmt: skip


STRANGE = [b"\xc3\xa4\xe2\x82\xac \xe7\x8c\xab.png", b"two\nlines.png", b"\xff\xfe.png", b"'\"\\.png"]


def test_strange_names_go_through_listing_cache_records_and_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = os.fsencode(write_folder(tmp_path / "a", 20) / "class0")
    for name in STRANGE:
        picture(np.random.default_rng(0), 0).save(tmp_path / "one.png")
        os.rename("one.png", os.path.join(folder, name))
        with open(os.path.join(folder, b"bad " + name), "wb") as stream:
            stream.write(b"no image")
    out = ["--steps", "1", "--out", "./run"]
    assert train.main([*TINY, "--data", "./a", "--max_bad_fraction", "0", *out]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding")]
    assert len(error) == 1
    assert "4 of 48 images of ./a cannot be read" in error[0]
    assert train.main([*TINY, "--data", "./a", "--max_bad_fraction", "0.2", *out]) == 0
    skipped = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert {os.fsencode(entry["name"]) for entry in skipped} == {b"class0/bad " + name for name in STRANGE}
    lines = gzip.decompress((tmp_path / "run" / "splits.jsonl.gz").read_bytes()).decode().splitlines()
    assert {os.fsencode(json.loads(line)["name"]) for line in lines} >= {b"class0/" + name for name in STRANGE}
    assert len(lines) == 44


def test_a_folder_with_a_strange_name_trains_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = "./" + "ä\nphotos: #1"
    write_folder(tmp_path / key, 20)
    assert train.main([*TINY, "--data", key, "--steps", "1", "--out", "./run"]) == 0
    assert train.main(["--resume", "./run", "--steps", "2"]) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["data"] == key


# --- images ----------------------------------------------------------------------------------------------------------


def write_png(file, width, height):
    """A whole grey PNG of that size, black, without holding it in memory."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, row = zlib.compressobj(9), bytes(width + 1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_one_pixel_becomes_a_square_of_its_colour(tmp_path):
    folder = write_folder(tmp_path / "a", 2)
    PIL.Image.new("RGB", (1, 1), (1, 2, 3)).save(folder / "class0" / "000.png")
    images = load([folder], tmp_path)
    assert np.unique(images.fetch(np.array([0])).reshape(3, -1), axis=1).ravel().tolist() == [1, 2, 3]


def test_an_image_of_600_million_pixels_is_counted_and_never_decoded(tmp_path):
    folder = write_folder(tmp_path / "a", 2)
    write_png(folder / "class0" / "000.png", 30_000, 20_000)
    images = load([folder], tmp_path, bad=0.5)
    assert [entry.name for entry in images.skipped] == ["class0/000.png"]
    assert "exceeds limit of 178956970 pixels" in images.skipped[0].reason


def test_a_file_that_vanishes_after_the_listing_is_counted_and_shifts_no_label(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 10)
    real = cache.cached

    def vanish(key, source, listing, *rest):
        (folder / "class0" / "004.png").unlink()
        (folder / "class0" / "new.png").write_bytes(b"too late")
        return real(key, source, listing, *rest)

    monkeypatch.setattr(data, "cached", vanish)
    images = load([folder], tmp_path, bad=0.1)
    assert [(entry.name, entry.reason.split(":")[0]) for entry in images.skipped] == [("class0/004.png", "FileNotFoundError")]  # fmt: skip
    shown = images.fetch(np.arange(len(images))).float()
    assert ((shown[:, 0] > shown[:, 2]).float().mean(dim=(1, 2)).round().numpy() == (images.label == 1)).all()
    assert [name.split("/")[0] for name in images.names] == [f"class{label}" for label in images.label]
