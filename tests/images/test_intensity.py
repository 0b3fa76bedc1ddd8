"""Deep images: one range for a whole source, said, recorded, and the same with a cache and without one."""

import errno
import json
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from pictures import picture, write_folder
from tiny import TINY

from lens.base.errors import BadInput
from lens.base.files import SystemFault
from lens.images import intensity, loading, uncached
from lens.images.intensity import Extent
from lens.images.training_set import training_images
from lens.measuring.probes import load_probes
from lens.record import image_record
from lens.settings.groups.data import DataSettings
from lens.settings.parsing import parse

SIDE = 24


def ramp(top):
    """A square (24, 24) whose numbers rise from 0 to `top` from left to right."""
    return np.tile(np.linspace(0, top, SIDE), (SIDE, 1))


def write(folder, images, ending="tif"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in images.items():
        PIL.Image.fromarray(numbers).save(folder / f"{name}.{ending}")
    return folder


def load(place, tmp_path, cache="disk", given=None, bad=1.0):
    return loading.load(
        DataSettings(
            data=[str(p) for p in (place if isinstance(place, list) else [place])],
            image_size=8,
            cache_image_size=SIDE,
            cache_dir=str(tmp_path / "cache"),
            max_bad_fraction=bad,
            cache=cache,
            intensity_range=list(given) if given else "auto",
        )
    )


def shown(images):
    """Each image's grey levels along a row, by its name."""
    squares = images.fetch(np.arange(len(images)))
    return {name: squares[i, 0, SIDE // 2].int().numpy() for i, name in enumerate(images.names)}


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("whole", 0, 255, (0, 255)),
        ("whole", 3, 200, (0, 255)),
        ("whole", 0, 256, (0, 1023)),
        ("whole", 0, 4000, (0, 4095)),
        ("whole", 0, 10_000, (0, 16383)),
        ("whole", 0, 65535, (0, 65535)),
        ("whole", 0, 1, (0, 1)),
        ("whole", 5, 100_000, (0, 100_000)),
        ("whole", -1024, 3071, (-1024, 3071)),
        ("whole", -1, 255, (-1, 255)),
        ("whole", 0, 0, (0, 255)),
        ("whole", -7, -7, (-7, 0)),
        ("float", 0, 0.9, (0, 1)),
        ("float", -0.05, 1.02, (0, 1)),
        ("float", 0, 1.6, (0, 1.6)),
        ("float", -3, 2.5, (-3, 2.5)),
        ("float", 0, 0.01, (0, 0.01)),
        ("float", 0, 254.5, (0, 255)),
        ("float", 0, 65535, (0, 65535)),
        ("float", 0, 1e30, (0, 1e30)),
    ],
)
def test_the_range_of_a_kind_of_number(kind, low, high, expected):
    middle = (low + high) / 2
    # Whatever order they come in, and whichever of them has the highest.
    for one in ([(low, middle), (middle, high)], [(middle, high), (low, middle)], [(low, high)]):
        assert intensity.decided(Extent(kind, *ends) for ends in one) == {kind: expected}


def test_whole_numbers_and_floats_of_one_source_have_ranges_of_their_own():
    found = intensity.decided([Extent("whole", 0, 4000), Extent("float", 0, 0.5), Extent("whole", 0, 10)])
    assert found == {"whole": (0, 4095), "float": (0, 1)}


# --- a source --------------------------------------------------------------------------------------------------------


def test_floats_of_one_source_are_shown_alike_and_nan_is_skipped(tmp_path):
    tops = {"a": 0.9, "b": 0.45, "c": 1.02, "d": 1.0}
    numbers = {name: ramp(top).astype(np.float32) for name, top in tops.items()}
    numbers["e"] = np.where(np.eye(SIDE) > 0, np.nan, ramp(1)).astype(np.float32)
    numbers["f"] = np.where(np.eye(SIDE) > 0, np.inf, ramp(1)).astype(np.float32)
    images = load(write(tmp_path / "a", numbers), tmp_path)
    assert {s.name: s.reason for s in images.skipped} == dict.fromkeys(
        ("e.tif", "f.tif"), "ValueError: it holds NaN or infinite numbers"
    )
    for name, top in tops.items():
        expected = np.clip(np.linspace(0, top, SIDE) * 255, 0, 255)
        assert np.abs(shown(images)[f"{name}.tif"] - expected).max() <= 0.6
    line = f"4 of 4 images of {tmp_path}/a hold deep levels: 0 to 1 is shown as 0 to 255 (--intensity_range sets it)"
    assert line in images.describe().splitlines()


@pytest.mark.parametrize(("top", "scale"), [(255, 255), (4095, 4095), (3000, 4095), (65535, 65535)])
def test_numbers_of_fewer_bits_in_16_bit_files(tmp_path, top, scale):
    folder = write(
        tmp_path / "a", {"a": ramp(top).astype(np.uint16), "b": ramp(top // 2).astype(np.uint16)}, ending="png"
    )
    images = load(folder, tmp_path)
    for name, most in (("a", top), ("b", top // 2)):
        expected = np.linspace(0, most, SIDE).astype(int) / scale * 255
        assert np.abs(shown(images)[f"{name}.png"] - expected).max() <= 0.6
    assert f"0 to {scale} is shown as 0 to 255" in images.describe()


def test_signed_numbers_keep_what_lies_below_zero(tmp_path):
    numbers = (ramp(4095) - 1024).round().astype(np.int32)
    images = load(write(tmp_path / "a", {"a": numbers}), tmp_path)
    assert np.abs(shown(images)["a.tif"] - np.linspace(0, 255, SIDE)).max() <= 0.6


def test_a_picture_that_the_range_leaves_without_levels_is_counted_and_honest_black_and_white_is_kept(tmp_path):
    folder = write(
        tmp_path / "a",
        {
            "deep": ramp(65535).astype(np.uint16),
            "faint": ramp(255).astype(np.uint16),
            "mask": ((ramp(1) > 0.5) * 65535).astype(np.uint16),
            "black": np.zeros((SIDE, SIDE), np.uint16),
            "bilevel": (ramp(1) > 0.5),
            "black8": np.zeros((SIDE, SIDE), np.uint8),
        },
        ending="png",
    )
    images = load(folder, tmp_path)
    assert images.names == ["bilevel.png", "black.png", "black8.png", "deep.png", "mask.png"]
    (skipped,) = images.skipped
    assert skipped.name == "faint.png"
    assert "its numbers, 0 to 255, have 2 levels left where 0 to 65535 is shown" in skipped.reason
    assert set(shown(images)["mask.png"]) == {0, 255}
    with pytest.raises(BadInput, match=r"1 of 6 images .* give another --intensity_range LOW HIGH"):
        load(folder, tmp_path, bad=0.1)


def test_a_given_range_is_used_and_has_a_cache_of_its_own(tmp_path):
    folder = write(tmp_path / "a", {"a": ramp(1000).astype(np.uint16)}, ending="png")
    own = shown(load(folder, tmp_path))["a.png"]
    given = shown(load(folder, tmp_path, given=(500.0, 1000.0)))["a.png"]
    assert own.max() == 249
    assert (given[: SIDE // 2 - 1] == 0).all()
    assert given.max() == 255
    assert (shown(load(folder, tmp_path))["a.png"] == own).all()
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_without_a_cache_the_same_is_shown(tmp_path):
    numbers = {f"{i:02d}": ramp(100 * (i + 1)).astype(np.uint16) for i in range(9)}
    folder = write(tmp_path / "a", numbers, ending="png")
    PIL.Image.fromarray(ramp(255).astype(np.uint8)).save(folder / "plain.png")
    kept, direct = load(folder, tmp_path), load(folder, tmp_path, cache="none")
    assert (kept.fetch(np.arange(10)) == direct.fetch(np.arange(10))).all()
    assert kept.reading() == direct.reading() != []
    assert kept.read_as == direct.read_as == ["levels 0 to 1023"] * 9 + [""]
    assert load(folder, tmp_path, cache="none", given=(0.0, 50.0)).fetch(np.arange(10)).float().mean() > 150


def test_without_a_cache_a_deep_image_that_nobody_expected_is_one_line(tmp_path, monkeypatch):
    folder = write(tmp_path / "a", {f"{i}": ramp(255).astype(np.uint8) for i in range(5)}, ending="png")
    write(folder, {"3": ramp(4095).astype(np.uint16)}, ending="png")
    monkeypatch.setattr(uncached.Uncached, "sample", np.array([0, 4]))
    images = load(folder, tmp_path, cache="none")
    with pytest.raises(
        BadInput, match=r"'3.png' of .* holds deep levels, and none of the 2 .* --intensity_range LOW HIGH"
    ):
        images.fetch(np.array([3]))


def test_a_source_without_deep_images_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(intensity, "survey", None)
    folder = write_folder(tmp_path / "a", 4)
    assert load(folder, tmp_path).reading() == load(folder, tmp_path, cache="none").reading() == []


def test_other_numbers_than_pillow_shows(tmp_path):
    folder = write(tmp_path / "a", {"full": ramp(65535).astype(np.uint16)})
    head = dict.fromkeys(("white_is_zero", "white_is_zero_float"))
    for name in head:
        numbers = ramp(65535).astype(np.uint16 if name == "white_is_zero" else np.float32)
        PIL.Image.fromarray(numbers).save(folder / f"{name}.tif", tiffinfo={262: 0})
        with PIL.Image.open(folder / f"{name}.tif") as image:
            assert image.tag_v2[262] == 0
    numbers = ramp(65535).astype(np.uint16)
    PIL.Image.fromarray(numbers).save(folder / "clear.png", transparency=int(numbers[0, 5]))
    scaled = (ramp(1) * 4095).round().astype(">u2").tobytes()
    (folder / "scale.pgm").write_bytes(b"P5\n%d %d\n4095\n" % (SIDE, SIDE) + scaled)
    levels = shown(load(folder, tmp_path))
    expected = np.linspace(0, 255, SIDE)
    assert np.abs(levels["full.tif"] - expected).max() <= 0.6
    assert np.abs(levels["scale.pgm"] - expected).max() <= 0.6
    for name in head:
        assert np.abs(levels[f"{name}.tif"] - expected[::-1]).max() <= 0.6
    assert levels["clear.png"][5] == 255
    assert np.abs(np.delete(levels["clear.png"] - expected, 5)).max() <= 0.6


def test_a_scale_that_the_header_tells_holds_for_a_dark_picture(tmp_path):
    (tmp_path / "a").mkdir()
    numbers = ramp(200).round().astype(">u2").tobytes()
    (tmp_path / "a" / "dark.pgm").write_bytes(b"P5\n%d %d\n4095\n" % (SIDE, SIDE) + numbers)
    assert shown(load(tmp_path / "a", tmp_path))["dark.pgm"].max() == 12


# --- several sources, and a run --------------------------------------------------------------------------------------


def two_sources(tmp_path):
    return [
        write(tmp_path / name, {f"{i}": ramp(top).astype(np.uint16) for i in range(3)}, ending="png")
        for name, top in (("a", 4095), ("b", 1000))
    ]


def test_two_sources_with_other_ranges_are_told(tmp_path):
    folders = two_sources(tmp_path)
    told = load(folders, tmp_path).reading()
    assert told[-1].startswith(
        f"what is shown as 0 to 255 differs: 0 to 4095 in {folders[0]}, 0 to 1023 in {folders[1]}; brightness alone"
    )
    alike = load(folders, tmp_path, given=(0.0, 4095.0)).reading()
    assert len(alike) == 2
    assert all("0 to 4095" in line for line in alike)


def test_a_probes_source_is_told_too(tmp_path, capsys):
    folders = []
    for name, top in (("a", 4095), ("b", 1000)):
        rng = np.random.default_rng(top)
        for label in ("x", "y"):
            numbers = {f"{i:02d}": rng.integers(0, top + 1, (SIDE, SIDE), np.uint16) for i in range(12)}
            write(tmp_path / name / label, numbers, ending="png")
        folders.append(f"{tmp_path}/{name}/")
    settings = parse([*TINY, "--data", folders[0], "--cache_dir", str(tmp_path / "cache")], "lens.train").settings
    images = training_images(settings)
    load_probes(settings.data, [folders[1]], images)
    said = capsys.readouterr().err
    assert f"24 of 24 images of {folders[1]} hold deep levels: 0 to 1023" in said
    assert f"what is shown as 0 to 255 differs: 0 to 4095 in the training images, 0 to 1023 in {folders[1]}" in said


def test_the_range_is_recorded_and_another_one_is_refused(tmp_path, capsys):
    folder = write(tmp_path / "a", {f"{i}": ramp(1000).astype(np.uint16) for i in range(3)}, ending="png")
    picture(np.random.default_rng(0), 0).save(folder / "plain.png")
    then, now = load(folder, tmp_path).splits(), load(folder, tmp_path, given=(0.0, 2000.0)).splits()
    assert [json.loads(line).get("read_as") for line in then.splitlines()] == [*["levels 0 to 1023"] * 3, None]
    image_record.write(tmp_path, then)
    image_record.refuse_others(tmp_path, then)
    with pytest.raises(BadInput, match=r"3 with another range or colour profile, the first '0.png'"):
        image_record.refuse_others(tmp_path, now)
    # Earlier versions did not tell: they scaled each image by itself.
    untold = [{k: v for k, v in json.loads(line).items() if k != "read_as"} for line in then.splitlines()]
    image_record.write(tmp_path, "".join(json.dumps(line) + "\n" for line in untold).encode())
    capsys.readouterr()
    image_record.refuse_others(tmp_path, then)
    assert "3 images, the first '0.png', are read in another way now (levels 0 to 1023)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["--intensity_range", "auto"], None),
        (["--intensity_range", "0", "4095"], (0, 4095)),
        (["--intensity_range=[-1024, 3071.5]"], (-1024, 3071.5)),
        (["--intensity_range", "-1e3", "1"], (-1000, 1)),
    ],
)
def test_the_setting(tmp_path, words, expected):
    parsed = parse([*TINY, *words], "lens.train")
    assert parsed.settings.data.shown_range == expected
    again = parse([], "lens.train", parsed.plain)  # as a run's settings.yaml is read
    assert again.settings.data.shown_range == expected
    (tmp_path / "file.yaml").write_text(f"intensity_range: {'auto' if expected is None else list(expected)}\n")
    assert parse(["--config", str(tmp_path / "file.yaml")], "lens.train").settings.data.shown_range == expected


@pytest.mark.parametrize(
    "words",
    [["0"], ["4095", "0"], ["1", "1"], ["0", "nan"], ["0", ".inf"], ["a", "b"], ["1", "2", "3"], ["1:30", "200"]],
)
def test_what_is_no_range_is_one_line(words):
    with pytest.raises(BadInput, match="--intensity_range"):
        parse([*TINY, "--intensity_range", *words], "lens.train")


def test_16_bit_colours_are_told_of(tmp_path):
    pixels = np.full((4, 4, 3), 90 * 256 + 7, ">u2")

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a" / "plain.png")
    images = load(tmp_path / "a", tmp_path)
    assert (shown(images)["deep.png"] == 90).all()
    assert images.reading() == [
        f"1 of 2 images of {tmp_path}/a have 16 bits a colour: the upper 8 are read (numbers of 12 bits come out dark)"
    ]


def test_an_image_that_the_system_cannot_read_decides_no_range_by_its_absence():
    class Busy:
        def read(self, position):
            if position == 2:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return PIL.Image.fromarray(np.full((4, 4), 100 * position, np.uint16))

    with pytest.raises(SystemFault, match="ulimit"):
        intensity.survey(Busy(), 4, lambda *told: None)
