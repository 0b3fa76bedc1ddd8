"""Class labels by their names, over sources and splits: one spelling of a name, and only classes that training has."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lens.images.data import Images

Array = np.ndarray[Any, Any]


def pooled(images: Images) -> tuple[Array, list[str]]:
    """Each image's class (n,) int64 among those of all sources together, by name (−1: it has none), and the names.

    One name in two spellings of Unicode ("é" as one character, or as two) is one class; names are given in its form NFC.
    """
    number: dict[str, int] = {}
    # In the order of the names as they are spelt: a network that learned them keeps their order.
    for name in sorted({label for labels in images.classes for label in labels}):
        number.setdefault(_composed(name), len(number))
    found = np.full(len(images), -1, np.int64)
    for source, labels in enumerate(images.classes):
        mine = (images.source == source) & (images.label >= 0)
        found[mine] = np.array([number[_composed(label)] for label in labels], np.int64)[images.label[mine]]
    return found, list(number)


def of_source(images: Images, source: int) -> Array:
    """Each image's label (n,) among the classes of its source: of two spellings of one name the first one's number."""
    first: dict[str, int] = {}
    number = [first.setdefault(_composed(name), place) for place, name in enumerate(images.classes[source])]
    found = images.label.copy()
    mine = (images.source == source) & (found >= 0)
    found[mine] = np.array(number, np.int64)[found[mine]]
    return found


def joined(names: Iterable[str]) -> list[str]:
    """A line about class names that are spelt in two ways and are taken for one, where there are any."""
    spellings = Counter(map(_composed, set(names)))
    twice = sorted(name for name, count in spellings.items() if count > 1)
    return [f"{_named(twice)} in two spellings of Unicode (NFC and NFD): taken for one name each"] if twice else []


def known(labels: dict[str, Array], names: Sequence[str]) -> tuple[dict[str, Array], list[str]]:
    """Which images of each split are of a class that those of `train` have, (n,) bool, and a line for each split that loses some.

    A class that training lacks cannot be answered: it would count as wrong, whatever the network knows.
    """
    kept = {split: np.isin(label, labels["train"]) for split, label in labels.items()}
    lines = []
    for split, label in labels.items():
        lost = label[~kept[split]]
        if len(lost):
            number = np.unique(lost)
            images = f"{len(lost):,} {split} image{'s' * (len(lost) > 1)}"
            which = _named([names[n] for n in number.tolist()])
            lines.append(f"{images} of {which} that training lacks: left out")
    return kept, lines


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _named(names: Sequence[str]) -> str:
    """2 classes ('a', 'b'): at most five of them by name."""
    shown = ", ".join(map(repr, names[:5])) + ", …" * (len(names) > 5)
    return f"{len(names):,} class{'es' * (len(names) > 1)} ({shown})"
