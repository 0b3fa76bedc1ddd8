"""What an image's file says before a pixel is decoded, field by field."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageCms

from lens.auditing import jpeg_segments

MOST = 1 << 26
"""Bytes of a file that are read, from its beginning."""
LONGEST = 40
"""Characters of a word, at most: comments can be whole letters."""
NUMBERS = (
    "width", "height", "bit_depth", "file_bytes", "bytes_per_pixel", "quality", "chroma_quality", "luminance_sum", "chroma_sum",
    "progressive", "scans", "restart_interval", "optimised_codes", "adobe_transform", "has_exif", "has_thumbnail", "has_profile",
    "has_xmp", "orientation", "comments", "density_across", "density_down", "gamma", "interlaced", "compression_level", "trailing_bytes",
)  # fmt: skip
"""Fields that are numbers; NaN where the file does not say."""
WORDS = (
    "container", "mode", "tables", "table_kind", "subsampling", "segments", "camera", "software", "profile", "comment", "density_unit",
    "text_keys", "coding",
)  # fmt: skip
"""Fields that are words; "none" where the file does not say."""
_MAKE, _MODEL, _SOFTWARE, _ORIENTATION = 0x010F, 0x0110, 0x0131, 0x0112
_UNITS = {0: "none", 1: "inch", 2: "cm"}
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}


def header_of(file: str | Path | bytes) -> dict[str, float | str]:
    """Every field of an image's file, or of its bytes: those of `NUMBERS` as float, those of `WORDS` as str.

    Of a damaged file what can be read is told; only a file that cannot be opened raises (OSError). No pixel is decoded.
    """
    if isinstance(file, bytes):
        data, size = file, len(file)
    else:
        with open(file, "rb") as stream:
            data = stream.read(MOST)
        size = Path(file).stat().st_size
    found: dict[str, float | str] = dict.fromkeys(NUMBERS, math.nan) | dict.fromkeys(WORDS, "none")
    found["file_bytes"] = float(size)
    _opened(found, data)
    if data.startswith(b"\xff\xd8"):
        _jpeg(found, data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _png(found, data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _webp(found, data)
    if size > len(data):
        found["trailing_bytes"] = math.nan
    found["bytes_per_pixel"] = size / max(1.0, float(found["width"]) * float(found["height"]))
    return found


def _opened(found: dict[str, float | str], data: bytes) -> None:
    """What Pillow tells of any format when it opens a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = PIL.Image.open(io.BytesIO(data))
    except Exception:  # whatever a damaged file makes of a parser: the fields stay as they are
        return
    with image:
        found["container"], found["mode"] = image.format or "none", image.mode
        found["width"], found["height"] = map(float, image.size)
        found["bit_depth"] = float(_BITS.get(image.mode, 8))
        _density(found, image.info.get("dpi"), "inch")
        if isinstance(compression := image.info.get("compression"), str):
            found["coding"] = compression
        profile = image.info.get("icc_profile")
        _profile(found, profile if isinstance(profile, bytes) else b"")
        if image.format not in ("JPEG", "PNG", "WEBP"):
            exif = image.info.get("exif")
            _exif(found, exif if isinstance(exif, bytes) else b"")


def _jpeg(found: dict[str, float | str], data: bytes) -> None:
    """What a JPEG file's segments tell."""
    told = jpeg_segments.segments(data)
    found["container"] = "MPO" if found["container"] == "MPO" else "JPEG"
    if told.size is not None and told.precision is not None:
        found["width"], found["height"], found["bit_depth"] = *map(float, told.size), float(told.precision)
    found["subsampling"] = told.sampling()
    for name, component in (("luminance", 0), ("chroma", 1)):
        if (steps := told.steps(component)) is not None:
            quality = jpeg_segments.quality_of(steps, chroma=component > 0)
            found[f"{name}_sum"] = float(steps.sum())
            found["quality" if component == 0 else "chroma_quality"] = math.nan if quality is None else float(quality)
            if component == 0:
                found["table_kind"] = "custom" if quality is None else "Annex K"
    if told.tables:
        found["tables"] = _hash(b"".join(told.tables[number].tobytes() for number in sorted(told.tables)))
    found["progressive"], found["scans"] = float(told.progressive), float(told.scans)
    found["restart_interval"] = float(told.restart or 0)
    found["optimised_codes"] = float(not told.usual_codes)
    found["coding"] = "arithmetic" if told.arithmetic else "Huffman"
    if told.adobe is not None:
        found["adobe_transform"] = float(told.adobe)
    if told.density is not None:
        unit, across, down = told.density
        _density(found, (across, down), _UNITS.get(unit, "none"))
    found["segments"] = _word(" ".join(told.apps))
    found["has_xmp"] = float(b"http://ns.adobe.com/xap/1.0/" in data[: 1 << 17])
    _comments(found, told.comments)
    _profile(found, told.profile)
    _exif(found, told.exif)
    if told.trailing is not None:
        found["trailing_bytes"] = float(told.trailing)


def _png(found: dict[str, float | str], data: bytes) -> None:
    """What a PNG file's chunks tell (W3C, Portable Network Graphics, third edition)."""
    found["container"] = "PNG"
    keys, comments, kinds, exif = [], [], [], b""
    packed = False
    for kind, body, end in _chunks(data, 8, "big"):
        if kind == "IHDR" and len(body) >= 13:
            found["width"], found["height"] = (float(int.from_bytes(body[n : n + 4], "big")) for n in (0, 4))
            found["bit_depth"], found["interlaced"] = float(body[8]), float(body[12])
        elif kind == "gAMA" and len(body) >= 4:
            found["gamma"] = int.from_bytes(body[:4], "big") / 100_000
        elif kind == "pHYs" and len(body) >= 9:
            across, down = (int.from_bytes(body[n : n + 4], "big") for n in (0, 4))
            _density(found, (across, down), "metre" if body[8] else "none")
        elif kind in ("tEXt", "zTXt", "iTXt"):
            key, _, text = body.partition(b"\0")
            keys.append(_word(key))
            if kind == "tEXt" and key == b"Software":
                found["software"] = _word(text)
            elif kind == "tEXt" and key in (b"Comment", b"Description"):
                comments.append(text)
        elif kind == "iCCP":
            _profile(found, _unpacked(body.partition(b"\0")[2][1:]))
        elif kind == "eXIf":
            exif = b"Exif\0\0" + body
        elif kind == "IDAT" and not packed and len(body) >= 2:
            packed, found["compression_level"] = True, float(body[1] >> 6)
        elif kind == "IEND":
            found["trailing_bytes"] = float(len(data) - end)
        if kind not in kinds:
            kinds.append(kind)
    found["segments"] = _word(" ".join(kinds))
    found["text_keys"] = _word(" ".join(dict.fromkeys(keys)))
    found["has_xmp"] = float("XML:com.adobe.xmp" in keys)
    _comments(found, comments)
    _exif(found, exif)


def _webp(found: dict[str, float | str], data: bytes) -> None:
    """What a WebP file's chunks tell (RFC 9649)."""
    found["container"] = "WEBP"
    end = 8 + int.from_bytes(data[4:8], "little")
    kinds, exif = [], b""
    for kind, body, _ in _chunks(data[:end], 12, "little"):
        if kind in ("VP8 ", "VP8L"):
            found["coding"] = "lossy" if kind == "VP8 " else "lossless"
        elif kind == "EXIF":
            exif = body if body.startswith(b"Exif\0\0") else b"Exif\0\0" + body
        if kind not in kinds:
            kinds.append(kind)
    found["segments"] = _word(" ".join(kinds))
    found["has_xmp"] = float("XMP " in kinds)
    if len(data) >= end:
        found["trailing_bytes"] = float(len(data) - end)
    _exif(found, exif)


def _chunks(data: bytes, place: int, order: Any) -> Iterator[tuple[str, bytes, int]]:
    """Each whole chunk's kind, its bytes, and where it ends: PNG's (big-endian, with a checksum) or RIFF's (little-endian)."""
    while place + 8 <= len(data):
        if order == "big":
            length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
            end = place + 12 + length
        else:
            kind, length = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
            end = place + 8 + length + length % 2
        if place + 8 + length > len(data):
            return
        yield kind.decode("latin-1"), data[place + 8 : place + 8 + length], end
        place = end


def _exif(found: dict[str, float | str], block: bytes) -> None:
    """Camera, software and orientation of an EXIF block, and whether it holds a thumbnail."""
    found["has_exif"], found["has_thumbnail"] = float(bool(block)), 0.0
    if not block:
        return
    try:
        exif = PIL.Image.Exif()
        exif.load(block)
        tags = {tag: exif.get(tag) for tag in (_MAKE, _MODEL, _SOFTWARE, _ORIENTATION)}
        # Offset and length of the thumbnail stand in the second directory.
        found["has_thumbnail"] = float(0x0201 in exif.get_ifd(PIL.ExifTags.IFD.IFD1))
    except Exception:  # whatever a camera, or an editor, has written
        return
    found["camera"] = _word(" ".join(str(tags[tag]) for tag in (_MAKE, _MODEL) if tags[tag]))
    found["software"] = _word(tags[_SOFTWARE] or "")
    if isinstance(orientation := tags[_ORIENTATION], int):
        found["orientation"] = float(orientation)


def _profile(found: dict[str, float | str], profile: bytes) -> None:
    """What a colour profile calls itself, else a hash of it."""
    found["has_profile"] = float(bool(profile))
    if profile:
        found["profile"] = _profile_name(profile)


@functools.lru_cache(64)
def _profile_name(profile: bytes) -> str:
    try:
        return _word(PIL.ImageCms.getProfileDescription(PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))))
    except Exception:  # lcms refuses many a profile that viewers ignore
        return _hash(profile)


def _comments(found: dict[str, float | str], comments: list[bytes]) -> None:
    found["comments"] = float(len(comments))
    if comments:
        found["comment"] = _word(comments[0])


def _density(found: dict[str, float | str], density: Any, unit: str) -> None:
    """Dots by unit across and down."""
    if isinstance(density, tuple) and len(density) == 2:
        try:
            found["density_across"], found["density_down"] = (float(value) for value in density)
        except (TypeError, ValueError, ZeroDivisionError):
            return
        found["density_unit"] = unit


def _unpacked(data: bytes) -> bytes:
    """What zlib has packed, as far as it can be read, at most 16 MiB."""
    try:
        return zlib.decompressobj().decompress(data, 1 << 24)
    except zlib.error:
        return b""


def _word(value: object) -> str:
    """Text of one line, at most `LONGEST` characters; "none" where nothing can be printed."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line[:LONGEST] or "none"


def _hash(data: bytes) -> str:
    """Six letters that name some bytes."""
    return hashlib.blake2b(data, digest_size=3).hexdigest()
