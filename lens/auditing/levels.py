"""The levels that a source's pixels have: where each channel begins and ends, which a cast moves by exactly its strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.results.audit import Levels

Array = np.ndarray[Any, Any]
RARE = 1e-4
"""Share of a channel's pixels that may lie outside of its ends."""
LEAST = 2
"""Levels by which two sources' ends differ where that is worth a line."""
PIXELS = 1 << 20
"""Pixels of a picture that are counted, about, at most: every so-manieth of larger ones."""
CHANNELS = ("red", "green", "blue")


def counted(native: Array) -> Array:
    """How often each level stands in each channel (3, 256) of a picture (H, W, 3) uint8."""
    step = max(1, round((native.shape[0] * native.shape[1] / PIXELS) ** 0.5))
    pixels = native[::step, ::step].reshape(-1, 3)
    return np.stack([np.bincount(pixels[:, k], minlength=256) for k in range(3)])


def ends(counts: Array) -> Levels:
    """The lowest and the highest level of each channel, of counts (3, 256): all but a `RARE` share lies between."""
    below = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    lowest = (below > RARE).argmax(axis=1)
    highest = (below >= 1 - RARE).argmax(axis=1)
    return Levels(lowest=lowest.tolist(), highest=highest.tolist())


def words(levels: Sequence[Levels], names: Sequence[str]) -> list[str]:
    """A line for each channel whose ends differ between sources: "red goes from 20 to 255 in b, from 0 to 255 in a".

    A cast that was added moves an end by its strength: where a picture had black, the raised channel now begins there. Of
    two sources the line says by how much.
    """
    lines = []
    for k, channel in enumerate(CHANNELS):
        low, high = ([getattr(one, name)[k] for one in levels] for name in ("lowest", "highest"))
        if max(max(low) - min(low), max(high) - min(high)) < LEAST:
            continue
        said = ", ".join(f"{low[i]} to {high[i]} in {name}" for i, name in enumerate(names))
        lines.append(f"{channel}: levels {said}{_moved(low, high, names)}")
    return lines


def _moved(low: Sequence[int], high: Sequence[int], names: Sequence[str]) -> str:
    """What would move the ends of the second of two sources so: nothing is said of more, nor where both ends came nearer."""
    if len(names) != 2:
        return ""
    up, down = low[1] - low[0], high[0] - high[1]
    if min(abs(up), abs(down)) >= LEAST:
        return ""
    by = up if abs(up) >= LEAST else -down
    return f": as if {names[1]} were {'raised' if by > 0 else 'lowered'} by {abs(by)} levels, or {names[0]} {'lowered' if by > 0 else 'raised'}"
