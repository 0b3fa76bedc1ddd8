"""What a file says before it is decoded: files written with known settings, damaged ones, and that no pixel is decoded."""

import io
import math

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
from cue_pictures import photo, saved

from lens.auditing import header, jpeg_segments
from lens.auditing.header import NUMBERS, WORDS, header_of

NATIVE = photo(0, (50, 60))


def exif(**tags):
    found = PIL.Image.Exif()
    found.update({0x010F: "Maker", 0x0110: "Maker 5", 0x0131: "Tool 1.0"} | tags)
    return found.tobytes()


@pytest.mark.parametrize("quality", [*range(30, 96, 5), 1, 100])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_quality_is_the_one_that_was_saved(quality, subsampling):
    found = header_of(saved(NATIVE, quality=quality, subsampling=subsampling))
    assert (found["quality"], found["chroma_quality"], found["table_kind"]) == (quality, quality, "Annex K")
    assert found["subsampling"] == ("4:2:0" if subsampling else "4:4:4")


def test_the_tables_are_those_that_pillow_reads():
    data = saved(NATIVE, quality=63)
    told = PIL.Image.open(io.BytesIO(data)).quantization
    segments = jpeg_segments.segments(data)
    for number, steps in told.items():
        assert segments.tables[number].tolist() == list(steps)
    assert header_of(data)["luminance_sum"] == sum(told[0])


def test_tables_of_another_kind_have_no_quality_but_a_name():
    steps = [[n + 3 for n in range(64)], [64 - n for n in range(64)]]
    first, second = (saved(NATIVE, qtables=tables, subsampling=0) for tables in (steps, steps[::-1]))
    found = header_of(first)
    assert (found["table_kind"], found["luminance_sum"]) == ("custom", sum(steps[0]))
    assert math.isnan(found["quality"])
    assert found["tables"] != header_of(second)["tables"]
    assert found["tables"] == header_of(first)["tables"]


@pytest.mark.parametrize(("subsampling", "word"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling_is_told_in_its_usual_notation(subsampling, word):
    assert header_of(saved(NATIVE, subsampling=subsampling))["subsampling"] == word


def test_a_grey_file_has_no_chroma():
    found = header_of(saved(NATIVE[..., 0]))
    assert (found["subsampling"], found["mode"]) == ("grey", "L")
    assert math.isnan(found["chroma_quality"])


def test_how_a_jpeg_was_coded_is_told():
    plain = header_of(saved(NATIVE))
    assert [plain[name] for name in ("progressive", "scans", "restart_interval", "optimised_codes", "comments")] == [
        0,
        1,
        0,
        0,
        0,
    ]
    told = header_of(saved(NATIVE, progressive=True, restart_marker_blocks=4, comment=b"made by hand", dpi=(72, 72)))
    assert (told["progressive"], told["restart_interval"], told["optimised_codes"]) == (1, 4, 1)
    assert told["scans"] > 4
    assert (told["comments"], told["comment"]) == (1, "made by hand")
    assert (told["density_across"], told["density_unit"]) == (72, "inch")
    assert header_of(saved(NATIVE, optimize=True))["optimised_codes"] == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_camera_software_and_profile_are_told_of_every_container(form):
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    found = header_of(saved(NATIVE, form, exif=exif(), icc_profile=profile))
    assert (found["container"], found["has_exif"], found["has_profile"]) == (form, 1, 1)
    assert (found["camera"], found["software"]) == ("Maker Maker 5", "Tool 1.0")
    assert "sRGB" in found["profile"]
    bare = header_of(saved(NATIVE, form))
    assert (bare["has_exif"], bare["has_profile"], bare["camera"], bare["profile"]) == (0, 0, "none", "none")


def test_a_profile_that_cannot_be_read_is_named_by_its_bytes():
    first, second, again = (
        header_of(saved(NATIVE, icc_profile=data))["profile"] for data in (b"junk", b"other", b"junk")
    )
    assert first == again != second


def test_a_thumbnail_and_the_orientation_are_seen():
    thumb = saved(NATIVE[:8, :8])
    block = PIL.Image.Exif()
    block[0x0112] = 6
    block.get_ifd(PIL.ExifTags.IFD.IFD1).update({0x0201: 0, 0x0202: len(thumb)})
    found = header_of(saved(NATIVE, exif=block.tobytes()))
    assert found["orientation"] == 6
    without = header_of(saved(NATIVE, exif=exif()))
    assert without["has_thumbnail"] == 0
    assert math.isnan(without["orientation"])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_bytes_after_the_end_are_counted(form):
    data = saved(NATIVE, form)
    assert header_of(data)["trailing_bytes"] == 0
    assert header_of(data + b"after")["trailing_bytes"] == 5


def test_a_thumbnails_end_is_not_the_files():
    data = saved(NATIVE)
    inner = saved(NATIVE[:8, :8])
    segment = b"\xff\xed" + (len(inner) + 2).to_bytes(2, "big") + inner
    found = header_of(data[:2] + segment + data[2:])
    assert (found["trailing_bytes"], found["width"]) == (0, 60)
    assert "APP13" in found["segments"]


def test_a_png_tells_its_depth_chunks_and_compression():
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Software", "Tool 2")
    text.add_text("Comment", "made by hand")
    found = header_of(saved(NATIVE, "PNG", pnginfo=text, compress_level=9))
    assert (found["bit_depth"], found["interlaced"], found["compression_level"]) == (8, 0, 3)
    assert (found["software"], found["comment"], found["text_keys"]) == ("Tool 2", "made by hand", "Software Comment")
    assert found["segments"].startswith("IHDR tEXt IDAT")
    assert header_of(saved(NATIVE, "PNG", compress_level=1))["compression_level"] == 0
    stream = io.BytesIO()
    PIL.Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(stream, "PNG")
    assert header_of(stream.getvalue())["bit_depth"] == 16


@pytest.mark.parametrize(("lossless", "word"), [(True, "lossless"), (False, "lossy")])
def test_a_webp_tells_how_it_was_coded(lossless, word):
    assert header_of(saved(NATIVE, "WEBP", lossless=lossless))["coding"] == word


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
def test_other_containers_tell_what_pillow_knows(form):
    found = header_of(saved(NATIVE, form))
    assert (found["container"], found["width"], found["height"]) == (form, 60, 50)


def test_file_size_and_bytes_a_pixel(tmp_path):
    data = saved(NATIVE)
    (tmp_path / "a.jpg").write_bytes(data)
    found = header_of(tmp_path / "a.jpg")
    assert found == header_of(str(tmp_path / "a.jpg")) or math.isnan(found["gamma"])
    assert found["file_bytes"] == len(data)
    assert found["bytes_per_pixel"] == pytest.approx(len(data) / 3000)


def test_of_a_longer_file_than_is_read_the_end_is_unknown(tmp_path, monkeypatch):
    data = saved(NATIVE)
    (tmp_path / "a.jpg").write_bytes(data + bytes(1000))
    monkeypatch.setattr(header, "MOST", len(data))
    found = header_of(tmp_path / "a.jpg")
    assert math.isnan(found["trailing_bytes"])
    assert (found["file_bytes"], found["quality"]) == (len(data) + 1000, 75)


def test_no_pixel_is_decoded(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded")

    data = saved(NATIVE, quality=40)
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", refuse)
    assert header_of(data)["quality"] == 40
    start = data.index(b"\xff\xda")
    found = header_of(data[: start + 30])  # a dozen bytes of coded pixels
    assert (found["quality"], found["width"], found["subsampling"]) == (40, 60, "4:2:0")
    assert math.isnan(found["trailing_bytes"])


FILES = {
    "jpeg": saved(NATIVE, exif=exif(), icc_profile=b"x" * 300, comment=b"c", progressive=True, restart_marker_blocks=2),
    "png": saved(NATIVE, "PNG", exif=exif(), icc_profile=b"x" * 300, dpi=(72, 72)),
    "webp": saved(NATIVE, "WEBP", exif=exif(), icc_profile=b"x" * 300),
    "gif": saved(NATIVE, "GIF"),
    "tiff": saved(NATIVE, "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("form", FILES)
def test_damaged_files_give_what_can_be_read_and_every_field(form):
    chance = np.random.default_rng(0)
    whole = FILES[form]
    damaged = [whole[:end] for end in [*range(0, 60), *range(60, len(whole), len(whole) // 40)]]
    for _ in range(150):
        other = np.frombuffer(whole, np.uint8).copy()
        other[chance.integers(0, min(len(whole), 800), 3)] = chance.integers(0, 256, 3)
        damaged.append(other.tobytes())
    for data in damaged:
        found = header_of(data)
        assert found.keys() == {*NUMBERS, *WORDS}
        assert all(isinstance(found[name], float) for name in NUMBERS)
        assert all(isinstance(found[name], str) and 0 < len(found[name]) <= 40 for name in WORDS)
        assert found["file_bytes"] == len(data)


def test_what_is_no_image_says_nothing():
    found = header_of(b"hello")
    assert (found["container"], found["file_bytes"]) == ("none", 5)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match=r"none\.jpg"):
        header_of(tmp_path / "none.jpg")
