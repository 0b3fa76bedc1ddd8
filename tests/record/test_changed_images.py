"""Images that have changed since a run was trained on them: refused in one line, whatever their names and times say."""

import dataclasses
import gzip
import io
import json
import os
import shutil
import zlib

import numpy as np
import PIL.Image
import pytest
from pictures import load, load_uncached, picture, write_folder, write_parquet, write_shard
from tiny import TINY, fit

from lens import probe, prove, train
from lens.images import opening
from lens.images.content import content_of
from lens.players.finished import FinishedRun
from lens.record import image_record
from lens.record.run import Run

CLASSES, PER_CLASS = 2, 16
WAYS = {"--resume": (train.main, ["--resume"]), "probe": (probe.main, []), "prove": (prove.main, [])}


def write_bitmaps(root):
    """Pictures whose files all have one size and one time, as out of an archive that is built reproducibly."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(PER_CLASS):
            file = root / f"class{label}" / f"{i:03d}.bmp"
            picture(rng, label, (40, 40)).save(file)
            os.utime(file, (10**9, 10**9))
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Pictures, and two runs on them: with the cache on disk, and without a cache."""
    place = tmp_path_factory.mktemp("trained")
    write_bitmaps(place / "photos")
    for cache in ("disk", "none"):
        argv = [*TINY, "--data", f"{place}/photos", "--steps", "2", "--cache", cache, "--out", f"{place}/{cache}"]
        assert train.main(argv) == 0
    return place


@pytest.fixture
def photos(trained, tmp_path):
    """The pictures, which a test may change; afterwards they are as before, their times too."""
    shutil.copytree(trained / "photos", tmp_path / "kept")
    yield trained / "photos"
    shutil.rmtree(trained / "photos")
    shutil.copytree(tmp_path / "kept", trained / "photos")


def repaint(file, change=lambda pixels: 255 - pixels):
    """Change a picture's pixels; its file keeps its size and its time."""
    status = file.stat()
    PIL.Image.fromarray(change(np.array(PIL.Image.open(file)))).save(file)
    assert file.stat().st_size == status.st_size
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def one_pixel(pixels):
    pixels[0, 0, 0] ^= 1
    return pixels


def a_test_image(trained, photos):
    lines = gzip.decompress((trained / "disk" / "splits.jsonl.gz").read_bytes()).splitlines()
    return photos / next(entry["name"] for entry in map(json.loads, lines) if entry["split"] == "test")


def every(trained, photos):
    for file in photos.rglob("*.bmp"):
        repaint(file)


def one(trained, photos):
    repaint(a_test_image(trained, photos), one_pixel)


def swap(trained, photos):
    first, second = (photos / f"class{label}" / "000.bmp" for label in range(2))
    first.rename(photos / "aside")
    second.rename(first)
    (photos / "aside").rename(second)


def move(trained, photos):
    (photos / "class0" / "003.bmp").rename(photos / "class1" / "moved.bmp")


CHANGES = {
    "every picture": (every, "32 with other content, the first 'class0/000.bmp'"),
    "one pixel": (one, "1 with other content, the first '"),
    "two swapped": (swap, "2 with other content, the first 'class0/000.bmp'"),
    "one moved": (move, "1 gone, the first 'class0/003.bmp'; 1 new, the first 'class1/moved.bmp'"),
}


def files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "lock"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_images_are_refused_in_one_line(trained, photos, capsys, change, way):
    before = files(trained / "disk")
    CHANGES[change][0](trained, photos)
    main, words = WAYS[way]
    capsys.readouterr()
    assert main([*words[:1], str(trained / "disk")] if way == "--resume" else [str(trained / "disk"), *words]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding"))
    assert line.startswith(f"lens: error: {trained / 'disk'} was trained on other images than its sources hold now")
    assert f"({CHANGES[change][1]}" in line
    assert files(trained / "disk") == before


def touch(trained, photos):
    os.utime(photos / "class0" / "000.bmp")


def copy(trained, photos):
    """An honest copy, at other times, in the place of the old folder."""
    photos.rename(trained / "aside")
    shutil.copytree(trained / "aside", photos, copy_function=shutil.copyfile)
    shutil.rmtree(trained / "aside")


def copy_with_times(trained, photos):
    photos.rename(trained / "aside")
    shutil.copytree(trained / "aside", photos)
    shutil.rmtree(trained / "aside")


@pytest.mark.parametrize("change", [touch, copy, copy_with_times])
def test_the_same_pixels_at_another_time_pass(trained, photos, capsys, change):
    change(trained, photos)
    capsys.readouterr()
    FinishedRun.of(Run.open(trained / "disk"), [], {}).images()
    assert "decoding" in capsys.readouterr().err  # the times only spare the hashing
    assert train.main(["--resume", str(trained / "disk")]) == 0
    assert "with other content" not in capsys.readouterr().err


@pytest.mark.parametrize("change", [one, touch, copy])
def test_without_a_cache_size_and_time_stand_for_the_pixels(trained, photos, capsys, change):
    if change is one:
        change(trained, photos)
        os.utime(a_test_image(trained, photos))
    else:
        change(trained, photos)
    for main, words in ((train.main, ["--resume"]), (probe.main, [])):
        capsys.readouterr()
        assert main([*words, str(trained / "none")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "with another size or time, the first 'class" in line
        assert "under --cache none nothing is hashed" in line
        assert "cp -a" in line


def test_without_a_cache_a_copy_that_keeps_its_times_passes_and_the_run_says_what_it_compares(trained, photos, capsys):
    copy_with_times(trained, photos)
    assert train.main(["--resume", str(trained / "none")]) == 0
    assert "size and time of its file stand for it" in capsys.readouterr().err


# --- records that cannot tell, and damaged ones ----------------------------------------------------------------------


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run with the cache on disk."""
    return shutil.copytree(trained / "disk", tmp_path / "run")


def record(run, change):
    """Change the lines of a run's record; what it holds then."""
    file = run / image_record.NAME
    lines = [change(json.loads(line)) for line in gzip.decompress(file.read_bytes()).splitlines()]
    content = gzip.compress("".join(json.dumps(line) + "\n" for line in lines if line).encode(), mtime=0)
    file.write_bytes(content)
    return content


def without_content(entry):
    return {key: value for key, value in entry.items() if key != "content"}


def test_a_run_that_recorded_no_pixels_is_compared_by_the_rest_and_stays_as_it_is(trained, photos, run, capsys):
    content = record(run, without_content)
    every(trained, photos)
    FinishedRun.of(Run.open(run), [], {}).images()
    lines = [line for line in capsys.readouterr().err.splitlines() if "pixels" in line]
    assert lines == [f"{run}/splits.jsonl.gz does not tell whether the images' pixels have changed since: this run's version did not record them yet; names, splits and labels are compared"]  # fmt: skip
    assert train.main(["--resume", str(run)]) == 0
    assert (run / image_record.NAME).read_bytes() == content
    move(trained, photos)
    assert train.main(["--resume", str(run)]) == 2
    assert "1 gone" in capsys.readouterr().err


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_record_is_told(run, capsys, way):
    (run / image_record.NAME).unlink()
    main, words = WAYS[way]
    if way == "prove":
        FinishedRun.of(Run.open(run), [], {}).images()
    else:
        assert main([*words, str(run)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "has no splits.jsonl.gz" in line]
    assert len(lines) == 1
    assert "cannot be told" in lines[0]
    assert (run / image_record.NAME).exists() == (way == "--resume")  # deleted, as advised, it is written again


def test_a_run_that_was_killed_before_it_recorded_its_images_goes_on(run, capsys):
    """Nothing was trained on anything yet."""
    (run / image_record.NAME).unlink()
    shutil.rmtree(run / "checkpoint")
    Run(run).record_images(b"{}", [])
    assert "cannot be told" not in capsys.readouterr().err


def bomb(size):
    """`size` zero bytes, packed without holding them."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


LINE = {"source": "a", "name": "b", "split": "train", "label": None, "content": "0" * 32}
TORN = gzip.compress(b"x" * 1000)[:-9]
DAMAGED = {
    "no gzip": b"\x00\xff{[\n",
    "torn": TORN,
    "empty": b"",
    "nothing in it": gzip.compress(b""),
    "no JSON": gzip.compress(b"other images"),
    "nested": gzip.compress(b"[" * 100_000),
    "a list": gzip.compress(b"[1]\n"),
    "a huge number": gzip.compress(b"9" * 5000),
    "no name": gzip.compress(json.dumps(LINE | {"name": 3}).encode()),
    "no label": gzip.compress(json.dumps({key: LINE[key] for key in ("source", "name", "split")}).encode()),
    "more keys": gzip.compress(json.dumps(LINE | {"more": "x"}).encode()),
    "two kinds": gzip.compress(f"{json.dumps(LINE)}\n{json.dumps(without_content(LINE) | {'name': 'c'})}\n".encode()),
    "twice": gzip.compress(f"{json.dumps(LINE)}\n{json.dumps(LINE)}\n".encode()),
    "no UTF-8": gzip.compress(b'{"name": "\xff"}'),
    "a bomb": "bomb",
    "far too large": "sparse",
    "a pipe": "pipe",
    "a folder": "folder",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_is_one_line(run, capsys, damage):
    file, content = run / image_record.NAME, DAMAGED[damage]
    file.unlink()
    if content == "pipe":
        os.mkfifo(file)
    elif content == "folder":
        file.mkdir()
    elif content == "bomb":
        file.write_bytes(bomb(200 * 2**20))
    elif content == "sparse":
        file.touch()
        os.truncate(file, 2**34)
    else:
        file.write_bytes(content)
    for main, words in ((train.main, ["--resume"]), (probe.main, [])):
        capsys.readouterr()
        assert main([*words, str(run)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"lens: error: {file} cannot be read (")
        assert "delete it if the images are still the same" in line


# --- several runs ----------------------------------------------------------------------------------------------------


def test_fusion_and_transfer_ask_for_the_images_of_every_run(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", 20)
    arms = {"lens": [], "plain": ["--lens", "none"], "control": ["--lens", "none", "--seed", "1"]}
    for name, more in arms.items():
        argv = [*TINY, "--steps", "1", "--test_images", "4", "--data", f"{folder}", "--out", f"{tmp_path / name}"]
        assert train.main(fit([*argv, *more])) == 0
    second = shutil.copytree(tmp_path / "lens", tmp_path / "second")
    other = lambda entry: entry | {"content": "0" * 32}  # noqa: E731 - trained before the pictures were replaced
    for name in ("control", "second"):
        record(tmp_path / name, other)
    fused = [f"{tmp_path}/lens", "--fuse", f"{tmp_path}/plain", "--fuse_control", f"{tmp_path}/control"]
    for argv, name in ((fused, "control"), ([f"{tmp_path}/lens", f"{second}", "--transfer", "--out", f"{tmp_path}/t"], "second")):  # fmt: skip
        capsys.readouterr()
        assert probe.main(argv) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{tmp_path / name} was trained on other images than its sources hold now" in line
        assert "40 with other content" in line


# --- what differs ----------------------------------------------------------------------------------------------------


def entries(*changes):
    images = {
        ("a", name): {"source": "a", "name": name, "split": "train", "label": "x", "content": "0"} for name in "pqr"
    }
    for name, change in changes:
        images["a", name] |= change
    return images


def test_each_kind_of_difference_has_its_number_and_its_first_image():
    then = entries()
    assert image_record.differences(then, entries()) == ""
    now = entries(("p", {"label": "y", "content": "1"}), ("q", {"label": None}), ("r", {"split": "test"}))
    assert image_record.differences(then, now) == (
        "1 with other content, the first 'p'; 2 with another label, the first 'p'; 1 in another split, the first 'r'"
    )
    del now["a", "p"]
    now["b", "p"] = then["a", "p"]
    assert image_record.differences(then, now).startswith(
        "1 gone, the first 'p'; 1 new, the first 'p'; 1 with another l"
    )
    turned = dict(reversed(then.items()))
    assert image_record.differences(then, turned) == "in another order, from 'p' on"


def test_equal_records_in_other_words_pass(run, capsys):
    """A later version may write its JSON with other blanks."""
    splits = gzip.decompress((run / image_record.NAME).read_bytes())
    record(run, lambda entry: dict(reversed(entry.items())))
    image_record.refuse_others(run, splits)
    assert not capsys.readouterr().err


# --- sources ---------------------------------------------------------------------------------------------------------


def keep_time(file, write):
    """Write a file anew under its old time."""
    status = file.stat()
    write()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kind", ["parquet", "shard"])
def test_rows_that_changed_under_the_old_time_are_decoded_and_hashed_anew(tmp_path, kind):
    file = tmp_path / f"rows.{ {'parquet': 'parquet', 'shard': 'tar'}[kind] }"
    write = {
        "parquet": lambda start: write_parquet(file, 20, start=start),
        "shard": lambda start: write_shard(file, 20, words=("0", "1"), start=start),
    }[kind]
    write(0)
    before = load([file], tmp_path)
    again = load([file], tmp_path)
    assert again.content == before.content
    keep_time(file, lambda: write(100))
    after = load([file], tmp_path)
    assert not set(before.content) & set(after.content)
    assert not np.array_equal(after.fetch(np.arange(20)), before.fetch(np.arange(20)))


def test_every_source_of_files_gives_both_stamps(tmp_path):
    folder = write_folder(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text("".join(f"photos/class0/00{i}.png 0\n" for i in range(2)))
    write_parquet(tmp_path / "rows.parquet", 4)
    write_shard(tmp_path / "shard.tar", 4)
    for key in (f"{folder}", f"{tmp_path}/list.txt", f"{tmp_path}/rows.parquet", f"{tmp_path}/shard.tar", "chest_xray"):
        file = tmp_path / key if key.endswith(("parquet", "tar")) else None
        first = opening.open_source(key, cache_dir=tmp_path).listing().records[0]
        assert first.portable_stamp.split("/")[:2] == first.stamp.split("/")[:2], key
        assert int(first.stamp.split("/")[2]), key
        assert first.stamp.count("/") == first.portable_stamp.count("/") + 1, key
        assert file is None or first.portable_stamp.startswith(f"{file.stat().st_size}/")


# --- the hash --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "gif", "tiff", "ppm"])
def test_hashing_reads_the_whole_file_and_leaves_the_image_as_it_is(tmp_path, ending):
    image = picture(np.random.default_rng(0), 0)
    first, second = tmp_path / f"a.{ending}", tmp_path / "b"
    image.save(first)
    second.write_bytes(first.read_bytes())
    with PIL.Image.open(first) as plain:
        pixels = np.asarray(plain.convert("RGB"))
    for source in (first, second, io.BytesIO(first.read_bytes())):
        with PIL.Image.open(source) as opened:
            found = content_of(opened)
            assert np.array_equal(np.asarray(opened.convert("RGB")), pixels)
        with PIL.Image.open(first) as opened:
            assert content_of(opened) == found
    second.write_bytes(first.read_bytes() + b"\0")
    with PIL.Image.open(second) as opened:
        assert content_of(opened) != found


def test_images_without_a_file_are_hashed_by_what_is_seen():
    image = picture(np.random.default_rng(0), 0)
    changed = image.copy()
    changed.putpixel((3, 3), (1, 2, 3))
    indexed = image.quantize(8)
    painted = indexed.copy()
    painted.putpalette([255 - value for value in indexed.getpalette()])
    clear = image.copy()
    clear.info["transparency"] = (0, 0, 0)
    turned = image.copy()
    turned.getexif()[0x0112] = 6
    grey = image.convert("L")
    wide = PIL.Image.frombytes("L", (grey.height, grey.width), grey.tobytes())
    seen = [image, changed, indexed, painted, clear, turned, grey, wide]
    assert len({content_of(one) for one in seen}) == len(seen)
    assert content_of(image) == content_of(PIL.Image.fromarray(np.asarray(image)))


def test_frames_of_one_file_are_told_apart(tmp_path):
    images = [picture(np.random.default_rng(seed), 0) for seed in range(2)]
    images[0].save(tmp_path / "a.tiff", save_all=True, append_images=images[1:])
    with PIL.Image.open(tmp_path / "a.tiff") as opened:
        first = content_of(opened)
        opened.seek(1)
        assert content_of(opened) != first


def test_a_record_without_pixels_is_the_same_on_machines_whose_copies_differ_in_time(tmp_path):
    folder = write_folder(tmp_path / "photos", 4)
    before = load_uncached([folder], tmp_path / "nowhere")
    for file in folder.rglob("*.png"):
        os.utime(file, (1, 1))
    after = load_uncached([folder], tmp_path / "nowhere")
    assert before.splits() != after.splits()
    assert before.splits(stamps=False) == after.splits(stamps=False)
    assert dataclasses.replace(before, stamps=()).splits() == before.splits(stamps=False)
