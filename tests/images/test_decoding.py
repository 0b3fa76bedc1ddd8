"""One image of any kind: upright whatever its EXIF holds, and in sRGB whatever its colour profile says."""

import concurrent.futures
import io
import json
import struct

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
from pictures import picture

from lens.images import colour_profiles, decoding, loading
from lens.settings.groups.data import DataSettings

# --- EXIF ------------------------------------------------------------------------------------------------------------

PICTURE = picture(np.random.default_rng(0), 0, (32, 32))
UPRIGHT = np.asarray(PICTURE).astype(int)


def tags(*entries):
    """An EXIF block of 12-byte entries."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


TURNED = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
"""The camera was turned: what is stored must be turned back."""
ODD = {
    "a word for a width": tags(TURNED, struct.pack("<HHI4s", 0x100, 2, 4, b"ab\0\0")),
    "a word for a fraction": tags(TURNED, struct.pack("<HHI4s", 0x11A, 2, 4, b"ab\0\0")),
    "a negative width": tags(TURNED, struct.pack("<HHIi", 0x100, 9, 1, -5)),
    "a float for a width": tags(TURNED, struct.pack("<HHIf", 0x100, 11, 1, 2.5)),
    "an unknown type": tags(TURNED, struct.pack("<HHII", 0x9000, 99, 1, 5)),
    "a word for the orientation": tags(struct.pack("<HHI4s", 0x112, 2, 4, b"6\0\0\0")),
    "cut short": tags(TURNED)[:11],
    "no TIFF": b"nonsense",
    "empty": b"",
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_exif_block_loses_no_picture(form, odd):
    is_turned = TURNED in ODD[odd]
    stored = PICTURE.transpose(PIL.Image.Transpose.ROTATE_90) if is_turned else PICTURE
    buffer = io.BytesIO()
    how = {"PNG": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}[form]
    stored.save(buffer, form, exif=b"Exif\0\0" * (form == "JPEG") + ODD[odd], **how)
    with decoding.without_warnings(), PIL.Image.open(buffer) as image:
        found = decoding.to_square(image, 32).astype(int)
    assert np.abs(found - UPRIGHT).mean() < 2


def test_an_exif_text_that_is_no_hexadecimal_loses_no_picture():
    buffer, info = io.BytesIO(), PIL.PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n  10\nzzzz")
    PICTURE.save(buffer, "PNG", pnginfo=info)
    assert (decoding.to_square(PIL.Image.open(buffer), 32) == UPRIGHT).all()


# --- colour profiles -------------------------------------------------------------------------------------------------

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")
"""A profile of a strange camera: what it calls red is sRGB's blue, and the other way round."""
LAB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()


def xyz(*value):
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(x * 65536)) for x in value)


def gamma_profile(gamma, space=b"GRAY"):
    """A grey profile whose light is number^gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return own_profile(space, b"mntr", b"XYZ ", {b"kTRC": curve})


def ink_profile():
    """A printer whose black ink alone is seen: lightness falls with K, and cyan, magenta and yellow leave no trace."""
    straight = bytes(range(256))
    lab = b"".join(bytes([255 * (1 - k), 128, 128]) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1))
    matrix = b"".join(struct.pack(">i", 65536 * (row == column)) for row in range(3) for column in range(3))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + straight * 4 + lab + straight * 3
    return own_profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


def own_profile(space, device, connection, more):
    """A profile of our own with these tags, as ICC.1:2001-04 describes one."""
    parts = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"ours\0" + bytes(78),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"cprt": b"text" + bytes(4) + b"none" + bytes(1),
        **more,
    }
    table, body = struct.pack(">I", len(parts)), b""
    start = 128 + 4 + 12 * len(parts)
    for name, content in parts.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), b"none", 0x02100000, device, space, connection, b"acsp")
    head = head.ljust(68, b"\0") + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + table + body


def stored(image, profile, form="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, form, icc_profile=profile)
    return PIL.Image.open(buffer)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_colours_of_another_space_become_srgb(form):
    image = PIL.Image.new("RGB", (8, 8), (200, 40, 90))
    how = {"lossless": True} if form == "WEBP" else {}
    buffer = io.BytesIO()
    image.save(buffer, form, icc_profile=SWAPPED, **how)
    square, told = decoding.squared(PIL.Image.open(buffer), 8, {})
    assert np.abs(square.astype(int) - [90, 40, 200]).max() <= 1
    assert told == "profile converted"


def test_an_srgb_profile_changes_no_bit():
    for image in (PICTURE, PICTURE.convert("L"), PICTURE.convert("P"), PICTURE.convert("RGBA")):
        plain = io.BytesIO()
        image.save(plain, "PNG")
        square, told = decoding.squared(stored(image, SRGB), 20, {})
        assert (square == decoding.to_square(PIL.Image.open(plain), 20)).all()
        assert told == ""


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_grey_of_another_gamma_becomes_srgb(gamma):
    grey = PIL.Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    light = (np.arange(256) / 255) ** gamma
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    for image in (grey, PIL.Image.merge("LA", [grey, PIL.Image.new("L", grey.size, 255)])):
        square, told = decoding.squared(stored(image, gamma_profile(gamma)), 256, {})
        assert told == "profile converted"
        assert np.abs(square[100] - expected[:, None]).max() <= 1
    deep = PIL.Image.fromarray(np.asarray(grey) * np.uint16(257))
    square, told = decoding.squared(stored(deep, gamma_profile(gamma)), 256, {"whole": (0, 65535)})
    assert told == "levels 0 to 65535, profile converted"
    assert np.abs(square[100] - expected[:, None]).max() <= 1


def test_grey_and_palettes_with_a_profile_of_colours_are_read_by_it():
    pal = PIL.Image.new("P", (8, 8), 0)
    pal.putpalette([200, 40, 90] + [0] * 765)
    assert np.abs(decoding.to_square(stored(pal, SWAPPED), 8).astype(int) - [90, 40, 200]).max() <= 1
    square, told = decoding.squared(stored(PIL.Image.new("L", (8, 8), 77), SWAPPED), 8, {})
    assert np.abs(square.astype(int) - 77).max() <= 1
    assert told == "profile converted"


def test_inks_are_read_by_their_profile():
    for inks, seen in {(0, 0, 0, 0): 255, (255, 255, 0, 0): 255, (0, 0, 0, 255): 0, (99, 0, 9, 255): 0}.items():
        image = PIL.Image.new("CMYK", (8, 8), inks)
        square, told = decoding.squared(stored(image, ink_profile(), "TIFF"), 8, {})
        assert np.abs(square.astype(int) - seen).max() <= 2
        assert told == "profile converted"


def test_transparent_pixels_of_a_profiled_image_are_white():
    image = PIL.Image.new("RGBA", (8, 8), (200, 40, 90, 255))
    image.paste((200, 40, 90, 0), (0, 0, 8, 4))
    square = decoding.to_square(stored(image, SWAPPED), 8).astype(int)
    assert (square[:3] >= 254).all()
    assert np.abs(square[5:] - [90, 40, 200]).max() <= 1


UNFIT = {
    "noise": b"no profile" * 30, "short": SWAPPED[:300], "of Lab": LAB, "of grey for colours": gamma_profile(1.8),
    "of inks": gamma_profile(1.8, b"CMYK"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_a_profile_that_cannot_be_used_is_told_and_the_numbers_stay(kind):
    square, told = decoding.squared(stored(PICTURE, UNFIT[kind]), 32, {})
    assert (square == UPRIGHT).all()
    assert told == "profile unfit"


def test_numbers_of_lab_and_of_inks_are_none_of_a_profile_of_colours():
    for mode in ("LAB", "CMYK"):
        image = PIL.Image.new(mode, (8, 8), (120, 20, 230, 0)[: PIL.Image.getmodebands(mode)])
        square, told = decoding.squared(stored(image, SWAPPED, "TIFF"), 8, {})
        assert told == "profile unfit"
        assert (square == np.asarray(image.convert("RGB"))).all()


def test_profiles_are_counted(tmp_path):
    for name, profile in {"a": SWAPPED, "b": SWAPPED, "c": SRGB, "d": None, "e": b"noise"}.items():
        PICTURE.save(tmp_path / f"{name}.png", icc_profile=profile)
    settings = DataSettings(
        data=[f"{tmp_path}/"], image_size=8, cache_image_size=16, cache_dir=str(tmp_path / "cache"), max_bad_fraction=0
    )
    images, again = loading.load(settings), loading.load(settings)
    assert images.reading() == again.reading() == [
        f"2 of 5 images of {tmp_path}/ carry a colour profile: their colours are converted to sRGB",
        f"1 of 5 images of {tmp_path}/ carry a colour profile that cannot be read or does not fit: their numbers are taken as sRGB",
    ]  # fmt: skip
    read_as = [json.loads(line).get("read_as") for line in images.splits().splitlines()]
    assert read_as == ["profile converted", "profile converted", None, None, "profile unfit"]


def test_many_threads_convert_alike():
    rng = np.random.default_rng(0)
    images = [PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(40)]
    profiles = [SWAPPED, gamma_profile(1.0)]
    colour_profiles._transform.cache_clear()

    def convert(number):
        profile = profiles[number % 2]
        image = images[number] if number % 2 == 0 else images[number].convert("L")
        return decoding.to_square(stored(image, profile), 48)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(convert, range(40)))
    assert all((one == convert(number)).all() for number, one in enumerate(together))
    assert colour_profiles._transform.cache_info().currsize == 2
