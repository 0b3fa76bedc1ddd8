"""Do the audit's cues name what was planted, and stay silent where nothing was?

    nice -n 10 python -m benchmarks.audit --small ./cifar10/ --large ./caltech101/ --out audit.jsonl

Twenty planted pairs and twenty clean ones. A pair is two random halves of pictures that share none; of a planted one the second
half carries a plant. Every cue describes the pictures, boosted trees are asked which half each came from (60 % train, 20 % to stop,
20 % to report), and a row tells where its balanced accuracy stands out of all orders of the test labels (exact, one-sided), at 5 % over
all rows of the pair (Holm 1979). What should come out is written down in `PLANTS`: a planted pair is right where the row that tells most
is of one of its families; a clean one where no row tells. A pair that stands in --out is not asked again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from lens.auditing.header import header_of
from lens.base.bar import Bar
from lens.base.draws import EVALUATION, Draws
from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.images.decoding import to_square
from lens.images.opening import open_source
from lens.measuring import forensic
from lens.measuring.proportions import balanced_accuracy, means_by_class
from lens.protocols.cue import Picture
from lens.protocols.lookup import find, names
from lens.protocols.source import Source

Array = np.ndarray[Any, Any]
CLEAN = 10
"""Clean pairs of each of the two sets."""
HALF = {"small": 800, "large": 400}
"""Pictures of each half."""
SIDE = {"small": 32, "large": 48}
"""The side of the squares that cues of pixels are given."""
SHRUNK = 0.9
"""Large pictures are resized by this, in both halves: what they were compressed with is gone."""
FAMILIES = {
    "file": ("header",),
    "size": ("content_null", "file_size"),
    "compression": ("quantisation", "block_grid", "double_compression"),
    "resampling": ("resampling", "power_spectrum"),
    "noise": ("noise", "noise_residual"),
    "detail": ("high_pass", "patch_shuffle"),
    "levels": ("clipping",),
    "colour": ("mean_colour", "colour_histogram", "pixel_shuffle"),
    "place": ("border", "corners", "centre", "pixel_shuffle_fixed", "thumbnail"),
    "shape": ("hog", "edges", "grey", "low_pass"),
}
"""The cues that point to one kind of difference."""


@dataclasses.dataclass(frozen=True)
class Plant:
    """What is done to the second half of a pair; `both` is done to both halves before it."""

    families: tuple[str, ...]
    """Those of which one is the right answer."""
    plant: Callable[[Array, int], Array] = lambda native, index: native
    both: Callable[[Array], Array] = lambda native: native
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """With which the second half's PNG files are written."""
    other: Callable[[Array], Array] = lambda native: native
    """What is done to the first half in the plant's place."""


def shortcut(name: str) -> Callable[[Array, int], Array]:
    """The shortcut of this name as the key `source` plants it in source 1 of two: its default strength, θ = 0."""

    def plant(native: Array, index: int) -> Array:
        one = torch.tensor([index])
        images = torch.tensor(native).permute(2, 0, 1)[None].float() / 255
        planted = find("shortcut", name)().plant(images, torch.zeros(1), Draws(0, EVALUATION, one, one * 0))
        return np.asarray((planted * 255).round().byte()[0].permute(1, 2, 0).numpy())

    return plant


def png_copy(native: Array, quality: int) -> Array:
    """A picture as it is read from a JPEG file, 4:2:0."""
    stream = io.BytesIO()
    PIL.Image.fromarray(native).save(stream, "JPEG", quality=quality)
    return np.array(PIL.Image.open(stream).convert("RGB"))


def resized(native: Array, factor: float) -> Array:
    """A picture resized by a factor, antialiased."""
    size = tuple(max(16, round(length * factor)) for length in native.shape[1::-1])
    return np.array(PIL.Image.fromarray(native).resize(size, PIL.Image.Resampling.BICUBIC))


def cut(native: Array, top: int, left: int) -> Array:
    """A picture less 16 rows and columns, `top` and `left` of them at the beginning."""
    return native[top : native.shape[0] - 16 + top, left : native.shape[1] - 16 + left]


RIGHT = {
    "arrow": ("place", "shape", "levels"),
    "chromatic": ("noise", "detail", "place"),
    "light_gradient": ("place", "shape"),
    "watermark": ("shape", "detail", "noise"),
    "colour_cast": ("colour", "levels"),
    "jpeg": ("compression",),
    "patch_noise": ("place", "detail", "noise", "shape"),
    "one_pixel": ("place", "levels"),
}
"""The families that are right for each shortcut, written down before anything was measured."""
PLANTS = {
    **{f"{size}: {name}": Plant(right, shortcut(name)) for size in HALF for name, right in RIGHT.items()},
    "large: header only": Plant(("file",), options={"dpi": (300, 300), "compress_level": 9}),
    "large: PNG copies of JPEG 75": Plant(("compression",), lambda native, index: png_copy(native, 75)),
    "large: resized by 0.8": Plant(("size", "resampling"), lambda native, index: resized(native, 0.8)),
    "large: cut off JPEG's grid": Plant(
        ("compression",), lambda native, index: cut(native, 5, 3), lambda native: png_copy(native, 85),
        other=lambda native: cut(native, 8, 8),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """What one cue tells of a pair."""

    name: str
    family: str
    balanced_accuracy: float
    ci: Any
    p: float
    tells: bool


Described = dict[str, tuple[Array, list[tuple[str, ...]]]]
"""Of each cue the numbers (n, D) and the words of n pictures."""


class Pictures:
    """A set of pictures, each described once for every pair that leaves it as it is."""

    def __init__(self, key: str, size: str) -> None:
        self.source: Source = open_source(key)
        self.total, self.size = len(self.source.listing().records), size
        self.kept: dict[int, dict[str, Any]] = {}

    def native(self, index: int) -> Array:
        """Picture `index` as it stands in both halves: of large ones the square in the middle, a little smaller."""
        with self.source.read(index) as image:
            picture = image.convert("RGB")
        if self.size == "small":
            return np.array(picture)
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        return resized(np.array(picture.crop((left, top, left + side, top + side))), SHRUNK)

    def described(
        self, indices: Array, treat: Callable[[Array, int], Array] | None, options: dict[str, Any], note: str
    ) -> Described:
        """What all cues say of pictures; without a treatment they are kept for other pairs."""
        rows: dict[int, dict[str, Any]] = {} if treat or options else self.kept
        new = [int(index) for index in indices if int(index) not in rows]
        with Bar(note, len(new), "images") as bar:
            for start in range(0, len(new), 64):
                part = new[start : start + 64]
                rows |= dict(zip(part, self._rows(part, treat, options), strict=True))
                self.kept |= rows if rows is self.kept else {}
                bar.add(len(part))
        chosen = [rows[int(index)] for index in indices]
        return {
            name: (np.stack([row[name][0] for row in chosen]), [row[name][1] for row in chosen]) for name in chosen[0]
        }

    def _rows(
        self, indices: list[int], treat: Callable[[Array, int], Array] | None, options: dict[str, Any]
    ) -> list[dict[str, Any]]:
        pictures = []
        for index in indices:
            native = self.native(index) if treat is None else treat(self.native(index), index)
            stream = io.BytesIO()
            PIL.Image.fromarray(native).save(stream, "PNG", **options)
            square = to_square(PIL.Image.fromarray(native), SIDE[self.size])
            pictures.append(Picture(header_of(stream.getvalue()), native, square))
        index = torch.tensor(indices)
        found: list[dict[str, Any]] = [{} for _ in indices]
        for name in cues():
            told = find("cue", name)().describe(pictures, Draws(0, EVALUATION, index, index * 0))
            numbers = [values.reshape(len(indices), -1) for values in told.values() if values.dtype != object]
            words = [values for values in told.values() if values.dtype == object]
            for place, row in enumerate(found):
                row[name] = (
                    np.concatenate([values[place] for values in numbers]),
                    tuple(values[place] for values in words),
                )
        return found


@functools.cache
def cues() -> list[str]:
    """The cues of the table above, from the first to the last of the ladder."""
    known = {name for family in FAMILIES.values() for name in family}
    return sorted(known & set(names("cue")), key=lambda name: find("cue", name).order)


def encoded(halves: Sequence[tuple[Array, list[tuple[str, ...]]]], training: Array) -> Array:
    """Both halves' numbers and words as numbers (n, D): a word by how many training pictures have it, and by its place among all."""
    numbers = np.concatenate([values for values, _ in halves])
    columns = [np.nan_to_num(numbers, nan=-1e30)]
    for words in zip(*[row for _, rows in halves for row in rows], strict=True):
        _, place = np.unique(np.array(words), return_inverse=True)
        count = np.bincount(place[training], minlength=place.max() + 1)[place]
        columns.append(np.stack([place, count], axis=1).astype(np.float32))
    return np.concatenate(columns, axis=1)


def ladder(first: Described, second: Described, seed: int) -> list[Row]:
    """Every cue's row of a pair."""
    from scipy.stats import hypergeom

    counts = [len(half["header"][0]) for half in (first, second)]
    answer = np.repeat([0, 1], counts)
    order = np.random.default_rng([seed, 1]).permutation(len(answer))
    cuts = np.cumsum([int(0.6 * len(answer)), int(0.2 * len(answer))])
    parts = dict(zip(("train", "val", "test"), np.split(order, cuts), strict=True))
    truth = {split: answer[part] for split, part in parts.items()}
    rows = []
    for name in cues():
        values = encoded((first[name], second[name]), parts["train"])
        told = forensic.judge_rows({split: values[part] for split, part in parts.items()}, truth, seed).answers
        right = told == truth["test"]
        accuracy, ci = balanced_accuracy(right.astype(float), np.ones(len(right)), truth["test"])
        # With the answers held, the number of ones among the images of source 1 is hypergeometric.
        total, ones, said = len(right), int(truth["test"].sum()), int(told.sum())
        p = float(hypergeom.sf(int(told[truth["test"] == 1].sum()) - 1, total, ones, said))
        family = next(key for key, members in FAMILIES.items() if name in members)
        assert accuracy == np.float64(means_by_class(right, truth["test"]).mean())
        rows.append(Row(name, family, float(accuracy), ci, p, False))
    return holm(rows)


def holm(rows: list[Row], level: float = 0.05) -> list[Row]:
    """The rows with those that tell at 5 % over all of them (Holm 1979)."""
    telling, order = set(), sorted(rows, key=lambda row: row.p)
    for place, row in enumerate(order):
        if row.p > level / (len(rows) - place):
            break
        telling.add(row.name)
    return [dataclasses.replace(row, tells=row.name in telling) for row in rows]


def asked(name: str, sets: dict[str, Pictures], number: int) -> dict[str, Any]:
    """One pair's line: its rows, what was named, whether that is right, the seconds it took."""
    start = time.perf_counter()
    pictures = sets[name.split(":")[0]]
    half = min(HALF[pictures.size], pictures.total // 2)
    chosen = np.random.default_rng([number, 0]).permutation(pictures.total)[: 2 * half]
    if plant := PLANTS.get(name):
        treat = lambda native, index: plant.plant(plant.both(native), index)  # noqa: E731
        alike = plant.both is Plant.both and plant.other is Plant.other
        other = None if alike else lambda native, index: plant.other(plant.both(native))
        first = pictures.described(chosen[:half], other, {}, f"{name}, without")
        second = pictures.described(chosen[half:], treat, plant.options, f"{name}, planted")
    else:
        first, second = (pictures.described(part, None, {}, name) for part in (chosen[:half], chosen[half:]))
    rows = ladder(first, second, number)
    telling = [row for row in rows if row.tells]
    most = max((row.balanced_accuracy for row in telling), default=0.0)
    named = [row for row in telling if row.balanced_accuracy == most]
    right = any(row.family in plant.families for row in named) if plant else not telling
    return {
        "pair": name, "right": right, "families": plant.families if plant else (), "named": [row.name for row in named],
        "reads": most, "telling": [row.name for row in telling], "seconds": time.perf_counter() - start, "images": 2 * half,
        "rows": [dataclasses.asdict(row) for row in rows],
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> list[str]:
    """A row for each pair."""
    text = [
        "| pair | right families | tells most | reads, % | rows that tell | right | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        cells = [
            line["pair"], ", ".join(line["families"]) or "none", ", ".join(line["named"][:4]) or "nothing",
            f"{100 * line['reads']:.1f}" if line["named"] else "", str(len(line["telling"])), "yes" if line["right"] else "NO",
            f"{line['seconds']:.0f}",
        ]  # fmt: skip
        text.append(f"| {' | '.join(cells)} |")
    return text


def main(argv: list[str] | None = None) -> int:
    """Ask every pair that is not in --out yet, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", required=True, help="pictures of 32 px, as for lens train --data")
    parser.add_argument("--large", required=True, help="photos of some hundred pixels")
    parser.add_argument("--pairs", default="", help="only pairs whose name has this in it")
    parser.add_argument("--out", type=Path, default=Path("audit.jsonl"), help="a line for each pair")
    words = parser.parse_args(argv)

    def run() -> int:
        torch.set_num_threads(1)
        done = {}
        if words.out.exists():
            done = {line["pair"]: line for line in map(json.loads, words.out.read_text(encoding="utf-8").splitlines())}
        pairs = [*PLANTS, *(f"{size}: clean {number}" for size in HALF for number in range(1, CLEAN + 1))]
        sets = {"small": Pictures(words.small, "small"), "large": Pictures(words.large, "large")}
        for number, name in enumerate(pairs):
            if name not in done and words.pairs in name:
                done[name] = asked(name, sets, number)
                with words.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(done[name]) + "\n")
                say(table([done[name]])[-1])
        print("\n".join(table([done[name] for name in pairs if name in done])))
        for kind, which in (("planted", list(PLANTS)), ("clean", pairs[len(PLANTS) :])):
            lines = [done[name] for name in which if name in done]
            print(f"{kind}: {sum(line['right'] for line in lines)} of {len(lines)} right")
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
