"""The segments of a JPEG file: what its markers say, without decoding a pixel (ITU-T T.81, annex B)."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SOI, _EOI, _SOS, _DQT, _DHT, _DRI, _COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
# In the coded data 0xFF is followed by 0, or by a restart marker.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_SAMPLINGS = {(1, 1): "4:4:4", (2, 1): "4:2:2", (1, 2): "4:4:0", (2, 2): "4:2:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}
# The order in which a table's 64 steps are written (figure A.6): by diagonals, up and down in turn.
_ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, (n // 8) if (n // 8 + n % 8) % 2 else n % 8))
# The lengths' counts of the four tables of annex K.3: encoders that do not optimise write them, and nothing else.
_USUAL_CODES = {
    bytes.fromhex(text)
    for text in (
        "00010501010101010100000000000000", "00030101010101010101010000000000",
        "0002010303020403050504040000017d", "00020102040403040705040400010277",
    )
}  # fmt: skip


@dataclasses.dataclass
class Segments:
    """What the segments that could be read say; empty or None where they say nothing."""

    size: tuple[int, int] | None = None
    """Width and height."""
    precision: int | None = None
    progressive: bool = False
    arithmetic: bool = False
    components: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)
    """Of each component its name, its sampling across and down, and the number of its table."""
    tables: dict[int, Array] = dataclasses.field(default_factory=dict)
    """Quantisation steps (64,) in rows, by number."""
    restart: int | None = None
    scans: int = 0
    usual_codes: bool = True
    """Whether all Huffman tables are those of annex K.3, by their lengths."""
    density: tuple[int, int, int] | None = None
    """JFIF: unit (0 none, 1 inch, 2 cm), across, down."""
    adobe: int | None = None
    """The colour transform that Adobe's segment names."""
    comments: list[bytes] = dataclasses.field(default_factory=list)
    exif: bytes = b""
    profile: bytes = b""
    apps: list[str] = dataclasses.field(default_factory=list)
    """The application segments by marker, in their order, each kind once."""
    trailing: int | None = None
    """Bytes after the end marker; None where there is no end marker."""

    def sampling(self) -> str:
        """Chroma subsampling in its usual notation, else the sampling factors; "grey" for one component."""
        if not self.components:
            return "none"
        factors = [(across, down) for _, across, down, _ in self.components]
        if len(factors) == 1:
            return "grey"
        if len(factors) == 3 and factors[1] == factors[2] == (1, 1) and factors[0] in _SAMPLINGS:
            return _SAMPLINGS[factors[0]]
        if len(set(factors)) == 1:
            return "4:4:4" if len(factors) == 3 else "4:4:4:4"
        return ",".join(f"{across}x{down}" for across, down in factors)

    def steps(self, component: int) -> Array | None:
        """The quantisation steps (64,) of a component, in rows of eight; None where there are none."""
        if component >= len(self.components):
            return None
        return self.tables.get(self.components[component][3])


def segments(data: bytes) -> Segments:
    """The segments of a JPEG file; of a damaged one those before the damage. Nothing is raised."""
    found, place = Segments(), 2
    while place + 1 < len(data):
        if not (marker := _MARKER.match(data, place)):
            break
        code, place = marker[1][0], marker.end()
        if code == _EOI:
            found.trailing = len(data) - place
            break
        if code in (_SOI, 0x01):
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        body = data[place + 2 : place + length]
        if length < 2 or len(body) < length - 2:
            break
        place += length
        _read(found, code, body)
        if code == _SOS:
            found.scans += 1
            following = _MARKER.search(data, place)
            place = following.start() if following else len(data)
    return found


def _read(found: Segments, code: int, body: bytes) -> None:
    """What one segment says; one that is too short for its kind says nothing."""
    if code in _FRAMES and len(body) >= 6 + 3 * body[5] and not found.components:
        found.precision = body[0]
        found.size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
        found.progressive, found.arithmetic = code in _PROGRESSIVE, code in _ARITHMETIC
        rows = [body[6 + 3 * n : 9 + 3 * n] for n in range(body[5])]
        found.components = [(row[0], row[1] >> 4, row[1] & 15, row[2]) for row in rows]
    elif code == _DQT:
        _read_tables(found, body)
    elif code == _DHT:
        _read_codes(found, body)
    elif code == _DRI and len(body) >= 2:
        found.restart = int.from_bytes(body[:2], "big")
    elif code == _COM:
        found.comments.append(body)
    elif 0xE0 <= code <= 0xEF:
        if (name := f"APP{code - 0xE0}") not in found.apps:
            found.apps.append(name)
        if code == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            found.density = (body[7], int.from_bytes(body[8:10], "big"), int.from_bytes(body[10:12], "big"))
        elif code == _APP1 and body.startswith(b"Exif\0\0"):
            found.exif = found.exif or body
        elif code == _APP2 and body.startswith(b"ICC_PROFILE\0"):
            found.profile += body[14:]
        elif code == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            found.adobe = body[11]


def _read_tables(found: Segments, body: bytes) -> None:
    """The quantisation tables of a segment, of one or two bytes a step."""
    while body:
        wide, number = body[0] >> 4, body[0] & 15
        size = 128 if wide else 64
        if len(body) < 1 + size:
            return
        steps = np.zeros(64, np.int64)
        steps[_ZIGZAG] = np.frombuffer(body, ">u2" if wide else np.uint8, count=64, offset=1)
        found.tables[number] = steps
        body = body[1 + size :]


def _read_codes(found: Segments, body: bytes) -> None:
    """Whether the Huffman tables of a segment are the usual ones."""
    while len(body) >= 17:
        lengths = body[1:17]
        found.usual_codes &= lengths in _USUAL_CODES
        body = body[17 + sum(lengths) :]


def quality_of(steps: Array, chroma: bool = False) -> int | None:
    """libjpeg's quality, 1 to 100, whose table is within one of these steps (64,) everywhere, the nearest; else None."""
    apart = np.abs(_usual_tables()[:, int(chroma)] - steps)
    best = int(apart.sum(axis=1).argmin())
    return best + 1 if apart[best].max() <= 1 else None


@functools.cache
def _usual_tables() -> Array:
    """The steps of luminance and chroma at each quality from 1 to 100: (100, 2, 64)."""
    import torch

    from lens.operations.jpeg import tables

    return np.asarray(tables(torch.arange(1, 101))[:, :2].flatten(2).numpy())
