"""Images, names, folders and disks at their worst: counted or refused in one line, never a crash or a wrong label."""

import gzip
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pictures import load, picture, write_folder
from tiny import TINY

from lens import train
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.images import batching, cache, loading, opening
from lens.settings.groups.data import DataSettings


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 2 MB, which a test may remount."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root's rights")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_links_that_lead_nowhere_are_counted_and_loops_end(tmp_path):
    folder = write_folder(tmp_path / "a", 10)
    (folder / "class0" / "up").symlink_to(folder)
    (folder / "class0" / "005.jpg").symlink_to(tmp_path / "gone.jpg")
    (folder / "class0" / "loop.png").symlink_to("loop.png")
    images = load([folder], tmp_path, bad=0.1)
    assert sorted(entry.name for entry in images.skipped) == ["class0/005.jpg", "class0/loop.png"]
    assert len(images) == 20


def test_a_flat_folder_that_links_to_itself_is_listed_once(tmp_path):
    (tmp_path / "flat").mkdir()
    for i in range(3):
        picture(np.random.default_rng(i), 0).save(tmp_path / "flat" / f"{i}.png")
    (tmp_path / "flat" / "self").symlink_to(tmp_path / "flat")
    listing = opening.open_source(f"{tmp_path}/flat").listing()
    assert [record.name for record in listing.records] == ["0.png", "1.png", "2.png"]
    assert not listing.classes


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


def test_a_source_that_cannot_be_read_is_refused_by_its_name(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 3)

    def listdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(BadInput, match=r"cannot read the folder .*/a \(Permission denied\): mend it or move it away"):
        load([folder], tmp_path)


def test_images_are_listed_by_folder_and_each_keeps_its_label(tmp_path):
    for name in ("b", "a b", "a", "a/deep"):
        (tmp_path / "f" / name).mkdir(parents=True)
        for file in ("2.png", "10.PNG", "notes.txt"):
            (tmp_path / "f" / name / file).write_bytes(b"x")
    listing = opening.open_source(f"{tmp_path}/f").listing()
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


def test_an_image_that_is_only_large_is_read_without_a_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 40 * 30)  # PIL warns above this, and refuses above twice as much
    folder = write_folder(tmp_path / "a", 2)
    images = load([folder], tmp_path, bad=0)
    assert len(images) == 4
    assert not recwarn.list


def test_a_file_that_vanishes_after_the_listing_is_counted_and_shifts_no_label(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 10)
    real = cache.cached

    def vanish(key, source, listing, *rest):
        (folder / "class0" / "004.png").unlink()
        (folder / "class0" / "new.png").write_bytes(b"too late")
        return real(key, source, listing, *rest)

    monkeypatch.setattr(loading, "cached", vanish)
    images = load([folder], tmp_path, bad=0.1)
    assert [(entry.name, entry.reason.split(":")[0]) for entry in images.skipped] == [("class0/004.png", "FileNotFoundError")]  # fmt: skip
    shown = images.fetch(np.arange(len(images))).float()
    assert ((shown[:, 0] > shown[:, 2]).float().mean(dim=(1, 2)).round().numpy() == (images.label == 1)).all()
    assert [name.split("/")[0] for name in images.names] == [f"class{label}" for label in images.label]


# --- disks -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_while_the_cache_is_built_is_one_line(small_disk, tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "a", 400)  # 800 squares of 36 px: 3.1 MB
    usage = cache.shutil.disk_usage(small_disk)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=10**9))  # others fill it later
    argv = [*TINY, "--cache_image_size", "36", "--data", str(folder), "--cache_dir", str(small_disk / "cache")]
    argv += ["--out", str(tmp_path / "run")]
    assert train.main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "cannot write the image cache" in lines[0]
    assert "No space left on device" in lines[0]
    assert not list((small_disk / "cache").iterdir())
    assert not (tmp_path / "run").exists()


def test_a_read_only_cache_is_read_where_it_is_complete_and_refused_where_not(small_disk, tmp_path):
    def load_from_disk(size):
        return loading.load(
            DataSettings(data=[str(tmp_path / "a")], image_size=8, cache_image_size=size, cache_dir=str(small_disk))
        )

    write_folder(tmp_path / "a", 10)
    before = load_from_disk(16)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    index = np.arange(20)
    assert np.array_equal(load_from_disk(16).fetch(index), before.fetch(index))
    with pytest.raises(BadInput, match=r"cannot write the image cache in .* \(Read-only file system\)"):
        load_from_disk(17)


def test_half_built_caches_are_swept_once_nobody_builds_them(tmp_path):
    folder, place = write_folder(tmp_path / "a", 2), tmp_path / "cache"
    load([folder], tmp_path, size=8)
    now = place.stat().st_mtime
    for name, age in (("killed", 3700), ("killed_early", 3700), ("running", 3500)):
        (place / f".building-a-8-{0:032x}-{name}").mkdir()
        if name != "killed_early":
            (place / f".building-a-8-{0:032x}-{name}" / "images.npy").write_bytes(b"half")
        os.utime(place / f".building-a-8-{0:032x}-{name}", (now - age, now - age))
    load([folder], tmp_path, size=9)
    assert [entry.name for entry in place.iterdir() if entry.name.startswith(".")] == [
        f".building-a-8-{0:032x}-running"
    ]


def test_a_build_shows_that_it_is_alive(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 2)
    ages = []

    def progress(done, total):
        (building,) = (tmp_path / "cache").glob(".building-*")
        os.utime(building, (0, 0))

    real = os.utime
    monkeypatch.setattr(cache.os, "utime", lambda path, *times: (real(path, *times), ages.append(times)))
    loading.load(
        DataSettings(data=[str(folder)], image_size=8, cache_image_size=8, cache_dir=str(tmp_path / "cache")), progress
    )
    assert ages[-1] == ()  # touched to now after each chunk


# --- without a cache -------------------------------------------------------------------------------------------------


def test_a_run_without_a_cache_ends_with_the_same_weights_and_resumes(tmp_path, capsys):
    import safetensors.torch

    folder, probe = write_folder(tmp_path / "a", 20), write_folder(tmp_path / "b", 20, seed=1)
    argv = [*TINY, "--data", str(folder), "--probe", str(probe), "--cache_dir", str(tmp_path / "cache"), "--steps", "4"]
    assert train.main([*argv, "--cache", "none", "--num_workers", "2", "--out", str(tmp_path / "none")]) == 0
    assert "nothing is cached; images are decoded when read" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert train.main([*argv, "--out", str(tmp_path / "disk")]) == 0
    none, disk = (safetensors.torch.load_file(tmp_path / run / "extractor.safetensors") for run in ("none", "disk"))
    assert all((none[name] == disk[name]).all() for name in disk)
    summaries = [json.loads((tmp_path / run / "summary.json").read_text()) for run in ("none", "disk")]
    assert summaries[0]["downstream"] == summaries[1]["downstream"]
    assert summaries[0]["pretext"] == summaries[1]["pretext"]
    assert train.main(["--resume", str(tmp_path / "none"), "--steps", "6"]) == 0
    assert train.main(["--resume", str(tmp_path / "none"), "--cache", "disk"]) == 2


def test_without_a_cache_a_bad_image_ends_training_with_one_line(tmp_path, monkeypatch, capfd):
    folder = write_folder(tmp_path / "a", 400)
    real = train.say

    def break_all(text):
        real(text)
        for file in folder.rglob("*.png"):
            file.write_bytes(b"broken since")

    monkeypatch.setattr(train, "say", break_all)
    argv = [*TINY, "--data", str(folder), "--cache", "none", "--num_workers", "2", "--out", str(tmp_path / "run")]
    assert train.main(argv) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("lens: error: image 'class")] == lines[-1:]
    assert not any("Traceback" in line for line in lines)


def test_a_killed_reader_of_batches_ends_the_run_in_one_line(tmp_path, photos):
    argv = [*TINY, "--data", str(photos), "--steps", "100000", "--val_every", "100000", "--log_every", "1"]
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "lens.train", *argv, "--num_workers", "2", "--out", str(run)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (run / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    readers = [int(pid) for pid in children if b"lens.train" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(readers[-1], signal.SIGKILL)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "a process that reads images was killed" in error
    assert "Traceback" not in error


class DeletedWhile:
    """Its `__del__` runs `body`: Python can only print what is raised there."""

    def __init__(self, body):
        self.body = body

    def __del__(self):
        self.body()


def test_a_reader_killed_during_a_deletion_ends_the_run_in_one_line(tmp_path, monkeypatch, capfd):
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))  # seconds, not five
    images = load([write_folder(tmp_path / "a", 40)], tmp_path)
    met = []

    def kill():
        os.kill(multiprocessing.active_children()[-1].pid, signal.SIGKILL)
        try:
            for _ in range(1000):  # asking whether it lives would reap it, before torch has seen it
                time.sleep(0.01)
        except RuntimeError as error:
            met.append(error)
            raise

    def body():
        for count, _ in enumerate(batching.training_batches(images, 8, 0, 0, 100_000, 2)):
            if count == 3:
                DeletedWhile(kill)
        return 0

    assert guard(body) == 1
    assert len(met) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("lens: error: a process that reads images was killed")


def test_what_else_is_raised_during_a_deletion_is_printed(monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    hook = sys.unraisablehook

    def fail():
        raise RuntimeError("another fault")

    def body():
        DeletedWhile(fail)
        return 0

    assert guard(body) == 0
    assert [str(met.exc_value) for met in printed] == ["another fault"]
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("met", [EOFError(), ConnectionResetError()])
def test_a_reader_killed_while_it_hands_over_a_batch_ends_the_run_in_one_line(
    tmp_path, photos, monkeypatch, capsys, met
):
    class Loader:
        def __init__(self, *args, **more):
            pass

        def __iter__(self):
            raise met
            yield

    monkeypatch.setattr(batching, "DataLoader", Loader)
    assert train.main([*TINY, "--data", str(photos), "--out", str(tmp_path / "run")]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lens: error:")]
    assert len(lines) == 1
    assert "a process that reads images was killed" in lines[0]
