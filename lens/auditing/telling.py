"""What a cue's descriptors say of the sources, in words: the fields that set them apart most."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.auditing.columns import UNSAID, Columns
from lens.images.data import Images
from lens.protocols.lookup import short_names

Array = np.ndarray[Any, Any]
MOST = 3
"""Fields that are named, at most."""
APART = 0.3
"""The least distance of two sources' values that is worth a word: the share of images that would have to change."""
FEW = 6
"""Different values of a number up to which their shares are told."""
WIDEST = 12
"""Columns of a cue up to which each of them can be named."""


def words(columns: Columns, images: Images) -> list[str]:
    """The most telling fields of a cue, each as a line: "subsampling: 100 % of a 4:4:4; 98 % of b 4:2:0".

    How far two sources are apart in a field is the Kolmogorov-Smirnov distance of its numbers, the total variation of its words.
    Of a cue of many columns only those have a line that are no part of a list: the others mean little one by one.
    """
    is_wide = len(columns.number_names) + len(columns.word_names) > WIDEST
    names = short_names(images.keys)
    parts = [np.flatnonzero(images.source == k) for k in range(len(names))]
    found: list[tuple[float, str]] = []
    for place, field in enumerate(columns.word_names):
        values = columns.words[:, place].astype(str)
        found.append((_variation(values, parts), _shares(field, values, parts, names)))
    for place, field in enumerate(columns.number_names):
        if is_wide and "[" in field:
            continue
        numbers = columns.numbers[:, place]
        values = np.where(np.isnan(numbers), UNSAID, np.char.mod("%.6g", numbers))
        if len(np.unique(values)) <= FEW:
            found.append((_variation(values, parts), _shares(field, values, parts, names)))
        else:
            found.append((_distance(numbers, parts), _medians(field, numbers, parts, names)))
    found.sort(key=lambda entry: -entry[0])
    return [line for apart, line in found[:MOST] if apart >= APART]


def _variation(values: Array, parts: list[Array]) -> float:
    """The largest total variation distance of two sources' words."""
    _, code = np.unique(values, return_inverse=True)
    shares = np.stack([np.bincount(code[part], minlength=code.max() + 1) / len(part) for part in parts])
    return float(np.abs(shares[:, None] - shares[None]).sum(axis=2).max() / 2)


def _distance(numbers: Array, parts: list[Array]) -> float:
    """The largest Kolmogorov-Smirnov distance of two sources' numbers, or of which share is missing."""
    known = [np.sort(numbers[part][~np.isnan(numbers[part])]) for part in parts]
    missing = np.array([1 - len(values) / len(part) for values, part in zip(known, parts, strict=True)])
    every = np.unique(np.concatenate(known))
    if not all(map(len, known)) or not len(every):
        return float(np.ptp(missing))
    below = np.stack([np.searchsorted(values, every, side="right") / len(values) for values in known])
    return float(max(np.abs(below[:, None] - below[None]).max(), np.ptp(missing)))


def _shares(field: str, values: Array, parts: list[Array], names: list[str]) -> str:
    said = []
    for part, name in zip(parts, names, strict=True):
        kinds, counts = np.unique(values[part], return_counts=True)
        most = int(counts.argmax())
        share = counts[most] / len(part)
        said.append(f"{_percent(share)} of {name} {kinds[most]}")
    return f"{_plain(field)}: {'; '.join(said)}"


def _medians(field: str, numbers: Array, parts: list[Array], names: list[str]) -> str:
    said = []
    for part, name in zip(parts, names, strict=True):
        known = numbers[part][~np.isnan(numbers[part])]
        said.append(f"{np.median(known):.3g} in {name}" if len(known) else f"none in {name}")
    return f"{_plain(field)}, median: {'; '.join(said)}"


def _percent(share: float) -> str:
    return "all" if share == 1 else f"{100 * share:.0f} %" if share < 0.995 else "> 99 %"


def _plain(field: str) -> str:
    return field.replace("_", " ")
