"""The steps of quantisation that a source's pictures have in common, read from their pixels: JPEG's combs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.results.audit import Comb

Array = np.ndarray[Any, Any]
PICTURES = 48
"""Pictures of a source whose coefficients are counted, at most, spread over its sample."""
SIDE = 256
"""Rows and columns of each that are counted, at most: those in the middle, from a multiple of 16."""
SHOWN = (1, 1)
"""The frequency whose sizes are drawn."""
REACH = 40.0
"""Sizes that are drawn, in levels."""


def middle(native: Array) -> Array:
    """The part of a picture (H, W, 3) that is counted, on JPEG's grid."""
    first = [max(0, (length - SIDE) // 2) // 16 * 16 for length in native.shape[:2]]
    return native[first[0] : first[0] + SIDE, first[1] : first[1] + SIDE].copy()


def comb_of(crops: Sequence[Array]) -> Comb:
    """What the pictures' coefficients tell together; those below 16 px are not counted."""
    from lens.operations.jpeg_planes import LUMINANCE
    from lens.operations.quantisation_steps import WIDTH, pooled, recovered

    histograms = pooled(crops)
    steps = recovered(histograms)
    sizes = histograms[LUMINANCE][8 * SHOWN[0] + SHOWN[1]][: int(REACH / WIDTH)]
    return Comb(
        quality=steps.quality,
        chroma_quality=steps.chroma_quality,
        sampling=steps.sampling,
        steps=steps.luminance.tolist(),
        width=WIDTH,
        counts=[int(count) for count in sizes],
    )


def words(combs: Sequence[Comb], names: Sequence[str]) -> list[str]:
    """A line for each source, where any has steps: "pixels of a: quantised as by JPEG of quality 75, chroma 4:2:0"."""
    if not any(np.any(comb.steps) for comb in combs):
        return []
    lines = []
    for comb, name in zip(combs, names, strict=True):
        chroma = f", chroma {comb.sampling}" if comb.sampling else ""
        if comb.quality is not None:
            lines.append(f"pixels of {name}: quantised as by JPEG of quality {comb.quality}{chroma}")
        elif np.any(comb.steps):
            first = " ".join(map(str, np.ravel(comb.steps)[:6].tolist()))
            lines.append(f"pixels of {name}: quantised by a table of its own (first steps {first}){chroma}")
        else:
            lines.append(f"pixels of {name}: no steps in common")
    return lines
