"""The descriptors of one cue: numbers and words of every image, and as the levels that trees are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lens.measuring.trees import BINS, edges_of

Array = np.ndarray[Any, Any]
MOST_WORDS = 60
"""Different words of a column that are told apart; the rarer ones of training are one."""
UNSAID = "none"


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a cue says of n images: `numbers` (n, D) float32, NaN where missing, `words` (n, W) of str, with their names."""

    numbers: Array
    number_names: list[str]
    words: Array
    word_names: list[str]

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, rows: Array) -> Columns:
        """The same of some images."""
        return dataclasses.replace(self, numbers=self.numbers[rows], words=self.words[rows])

    @property
    def categorical(self) -> list[int]:
        """Which columns of `levels` are words."""
        return list(range(self.numbers.shape[1], self.numbers.shape[1] + self.words.shape[1]))

    def levels(self, train: Array) -> Array:
        """Levels (n, D + W) uint8 for trees, decided by the images at `train`.

        A number is the quantile of training that it falls into, a missing one is above all others. A word is its rank among
        training's words by frequency; what is rare there, or unknown, is one more word.
        """
        found = np.empty((len(self), self.numbers.shape[1] + self.words.shape[1]), np.uint8)
        missing = np.isnan(self.numbers)
        whole = ~np.any(missing, axis=0)
        edges = np.zeros((BINS - 1, self.numbers.shape[1]))
        if whole.any():
            edges[:, whole] = edges_of(self.numbers[train][:, whole])
        for place in range(self.numbers.shape[1]):
            values = self.numbers[:, place]
            if not whole[place]:
                known = values[train][~missing[train, place]]
                if len(known):
                    edges[:, place] = edges_of(known[:, None])[:, 0]
            found[:, place] = np.searchsorted(edges[:, place], values)
            found[missing[:, place], place] = BINS
        for place in range(self.words.shape[1]):
            told, count = np.unique(self.words[train, place].astype(str), return_counts=True)
            rank = {word: number for number, word in enumerate(told[np.argsort(-count, kind="stable")][:MOST_WORDS])}
            codes = [rank.get(word, MOST_WORDS) for word in self.words[:, place].astype(str)]
            found[:, self.numbers.shape[1] + place] = codes
        return found


def joined(chunks: Sequence[Mapping[str, Array]]) -> Columns:
    """The descriptors of one chunk of images after the other: (B, …) numbers, or (B,) words (dtype object), by name.

    What a chunk does not name is missing there; a name that is a word in one chunk is one everywhere.
    """
    sizes = [len(next(iter(chunk.values()))) for chunk in chunks]
    named = list(dict.fromkeys(name for chunk in chunks for name in chunk))
    as_words = [name for name in named if any(chunk[name].dtype == object for chunk in chunks if name in chunk)]
    as_numbers = [name for name in named if name not in as_words]
    shapes = {name: next(chunk[name] for chunk in chunks if name in chunk).shape[1:] for name in as_numbers}
    numbers = [
        [
            chunk[name].reshape(size, -1) if name in chunk else np.full((size, int(np.prod(shapes[name]))), np.nan)
            for name in as_numbers
        ]
        for chunk, size in zip(chunks, sizes, strict=True)
    ]
    words = [
        [chunk[name].astype(str) if name in chunk else np.full(size, UNSAID) for name in as_words]
        for chunk, size in zip(chunks, sizes, strict=True)
    ]
    return Columns(
        np.concatenate([_beside(part, size, np.float32) for part, size in zip(numbers, sizes, strict=True)]),
        [column for name in as_numbers for column in _columns(name, shapes[name])],
        np.concatenate(
            [_beside([w[:, None] for w in part], size, object) for part, size in zip(words, sizes, strict=True)]
        ),
        as_words,
    )


def together(parts: Sequence[Columns]) -> Columns:
    """The columns of one source after the other; what one does not have is missing there."""
    numbers = list(dict.fromkeys(name for part in parts for name in part.number_names))
    words = list(dict.fromkeys(name for part in parts for name in part.word_names))
    numbers = [name for name in numbers if name not in words]
    return Columns(
        np.concatenate([_taken(part.numbers, part.number_names, numbers, np.nan) for part in parts]),
        numbers,
        np.concatenate([_taken(part.words, part.word_names, words, UNSAID) for part in parts]),
        words,
    )


def _taken(values: Array, have: Sequence[str], names: Sequence[str], missing: Any) -> Array:
    """The columns of these names."""
    found = np.full((len(values), len(names)), missing, values.dtype)
    place = {name: number for number, name in enumerate(have)}
    mine = [number for number, name in enumerate(names) if name in place]
    found[:, mine] = values[:, [place[names[number]] for number in mine]]
    return found


def _beside(parts: Sequence[Array], size: int, kind: Any) -> Array:
    return np.concatenate(parts, axis=1).astype(kind) if parts else np.empty((size, 0), kind)


def _columns(name: str, shape: tuple[int, ...]) -> list[str]:
    """A descriptor's columns: its own name, with the place in brackets where it has several numbers."""
    return [f"{name}[{','.join(map(str, place))}]" if shape else name for place in np.ndindex(*shape)]
