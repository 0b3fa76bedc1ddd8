"""What all pictures share: matplotlib without a screen, names, differences, PNG files."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lens.base.characters import printable
from lens.base.files import write_atomically

Array = np.ndarray[Any, Any]
NOISELESS = "--lens_noise left out"
"""What is said of every edit map: it shows where the lens edits, and what --lens_noise adds is the same everywhere."""
LONGEST = 60
"""Characters of a name in a picture."""
DPI = 130


def pyplot() -> Any:
    """matplotlib without a screen, imported only where something is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["text.parse_math"] = False  # a name may hold dollars
    return plt


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters that matplotlib's font has."""
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap())


def drawable(name: str) -> str:
    """A name as a picture can show it: printable, what the font lacks escaped, and no longer than a title may be."""
    text = "".join(
        c if ord(c) in _glyphs() else c.encode("ascii", "backslashreplace").decode() for c in printable(name)
    )
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-(LONGEST // 2) :]}"


def save_numbers(file: Path, numbers: dict[str, Array]) -> None:
    """Save the arrays that pictures are drawn from, whole or not at all."""
    write_atomically(file, npz(numbers))


def npz(numbers: dict[str, Array]) -> bytes:
    """Arrays as the bytes of an .npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **numbers)
    return content.getvalue()


def amplification(original: Array, lensed: Array) -> float:
    """The factor that brings the 99.5th percentile of the change to half of the range."""
    change = np.abs(lensed.astype(float) - original.astype(float))
    return float(np.clip(127 / max(float(np.quantile(change, 0.995)), 1.0), 1, 30))


def difference(original: Array, lensed: Array, factor: float) -> Array:
    """The change, amplified around grey: uint8 pictures in, uint8 out."""
    change = lensed.astype(float) - original.astype(float)
    shown: Array = (127.5 + factor * change).clip(0, 255).astype(np.uint8)
    return shown


def mosaic(rows: Sequence[Array], gap: int) -> Array:
    """Rows of as many pictures each (n, H, W, C) uint8 as one picture, `gap` white pixels between them."""
    stacked = np.stack(rows)
    padded = np.pad(stacked, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    r, n, h, w, c = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(r * h, n * w, c)[:-gap, :-gap]


def save_picture(plt: Any, figure: Any, file: Path) -> None:
    """Save a figure as PNG, whole or not at all, and close it."""
    write_atomically(file, png(plt, figure))


def png(plt: Any, figure: Any) -> bytes:
    """A figure as the bytes of a PNG file; it is closed."""
    content = io.BytesIO()
    figure.set_dpi(DPI)
    figure.canvas.print_png(content)  # figure.savefig would draw it twice
    plt.close(figure)
    return content.getvalue()
