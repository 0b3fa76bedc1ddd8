"""Does the audit name what was planted, and stay silent where nothing was?

    nice -n 10 python -m benchmarks.audit --small ./cifar10/ --large ./caltech101/ --out audit.jsonl

Twenty planted pairs and twenty clean ones. A pair is two folders of PNG files, random halves of pictures that share none; of a planted
one the second folder carries a plant. They go through the audit's own ladder of boosted trees (no network). What should come out
is written down in `PLANTS`: a planted pair is right where the row that tells most is of one of its families (the whole image, which holds
every cue, names none); a clean one where no row tells. `--seed` cuts other halves; a pair that stands in --out with that seed is not
asked again. `--network` asks the quick budget's network as well, in a line of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from lens.auditing import ladder
from lens.auditing.asked import AuditSettings
from lens.auditing.keeping import Finished
from lens.auditing.networks import Networks, networks
from lens.auditing.seen import seen
from lens.auditing.verdict import verdict
from lens.base.draws import EVALUATION, Draws
from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.images.opening import open_source
from lens.protocols.lookup import find
from lens.protocols.source import Source

Array = np.ndarray[Any, Any]
CLEAN = 10
"""Clean pairs of each of the two sets."""
HALF = {"small": 600, "large": 300}
"""Pictures of each half."""
SIDE = {"small": 32, "large": 48}
"""The side of the squares that cues of pixels are given."""
SHRUNK = 0.9
"""Large pictures are resized by this, in both halves: what they were compressed with is gone."""
FAMILIES = {
    "file": ("header",),
    "size": ("size", "content_null", "file_size"),
    "compression": ("quantisation", "block_grid", "double_compression"),
    "resampling": ("resampling",),
    "noise": ("noise", "noise_residual"),
    "detail": ("high_pass", "patch_shuffle", "power_spectrum", "autocorrelation"),
    "levels": ("clipping",),
    "colour": ("mean_colour", "colour_histogram", "pixel_shuffle"),
    "place": ("border", "corners", "centre", "pixel_shuffle_fixed", "thumbnail", "light", "spots"),
    "shape": ("hog", "edges", "grey", "low_pass"),
}
"""The cues that point to one kind of difference."""
WHOLE = "whole_image"


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


class Pictures:
    """A set of pictures, as they stand in both folders of a pair before anything is planted."""

    def __init__(self, key: str, size: str) -> None:
        self.source: Source = open_source(key)
        self.total, self.size = len(self.source.listing().records), size

    def native(self, index: int) -> Array:
        """Picture `index`, (H, W, 3) uint8: of large ones the square in the middle, a little smaller."""
        with self.source.read(index) as image:
            picture = image.convert("RGB")
        if self.size == "small":
            return np.array(picture)
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        return resized(np.array(picture.crop((left, top, left + side, top + side))), SHRUNK)

    def write(
        self, folder: Path, indices: Array, treat: Callable[[Array, int], Array], options: dict[str, Any]
    ) -> None:
        """Write pictures as PNG files, each after its treatment."""
        folder.mkdir()
        for index in map(int, indices):
            PIL.Image.fromarray(treat(self.native(index), index)).save(folder / f"{index:05d}.png", **options)


def asked(
    name: str, sets: dict[str, Pictures], number: int, seed: int = 0, nets: Networks | None = None
) -> dict[str, Any]:
    """One pair's line: its rows, what was named, whether that is right, the seconds the audit took. `seed`: which halves.

    `nets` trains a network on the whole image too; "network" are then its accuracy, its null, its corrected p and its seconds.
    """
    pictures = sets[name.split(":")[0]]
    half = min(HALF[pictures.size], pictures.total // 2)
    chosen = np.random.default_rng([number, seed]).permutation(pictures.total)[: 2 * half]
    plant = PLANTS.get(name, Plant(()))
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / "without", Path(place) / "with"]
        pictures.write(folders[0], chosen[:half], lambda native, _: plant.other(plant.both(native)), {})
        pictures.write(folders[1], chosen[half:], lambda native, i: plant.plant(plant.both(native), i), plant.options)
        start, cpu = time.perf_counter(), time.process_time()
        keys = [str(folder) for folder in folders]
        settings = AuditSettings(keys, images=half, image_size=SIDE[pictures.size], seed=number, threads=1)
        data = seen(settings, {})
        answers = ladder.by_trees(data, number, Finished(None, settings))
        if nets is not None:
            answers.append(nets.of_cue(data, WHOLE, number)[0])
        rows = ladder.rows_of(data, answers, number)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        words = [line.replace(f"{place}/", "") for line in verdict(rows, keys, within=False)]
    telling = [row for row in rows if row.significant]
    most = max((row.accuracy for row in telling if row.name != WHOLE), default=0.0)
    named = [row.name for row in telling if row.name != WHOLE and row.accuracy == most]
    right = any(family_of(row) in plant.families for row in named) if name in PLANTS else not telling
    return {
        "pair": name, "seed": seed, "right": right, "families": plant.families, "named": named, "reads": most, "images": 2 * half,
        "telling": [row.name for row in telling], "seconds": seconds, "cpu": cpu, "verdict": words,
        "rows": {row.name: [row.accuracy, row.null, row.p_holm] for row in rows if row.judge == "trees"},
        "network": [[row.accuracy, row.null, row.p_holm, row.seconds] for row in rows if row.judge == "network"],
    }  # fmt: skip


def family_of(cue: str) -> str:
    """The family of a cue. Raises StopIteration for one that has none: a new cue needs a line in `FAMILIES`."""
    return next(family for family, members in FAMILIES.items() if cue in members)


def table(lines: list[dict[str, Any]]) -> list[str]:
    """A row for each pair."""
    text = [
        "| pair | right families | tells most | reads, % | rows that tell | right | CPU s | a network reads, its null, %, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        cells = [
            line["pair"], ", ".join(line["families"]) or "none", ", ".join(line["named"][:4]) or "nothing",
            f"{100 * line['reads']:.1f}" if line["named"] else "", str(len(line["telling"])), "yes" if line["right"] else "NO",
            f"{line['cpu']:.0f}",
            "".join(f"{100 * own:.1f}, {100 * null:.1f}, {seconds:.0f} s" for own, null, _, seconds in line["network"]),
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
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    parser.add_argument("--network", action="store_true", help="ask the quick budget's network as well")
    words = parser.parse_args(argv)

    def wanted(line: dict[str, Any]) -> bool:
        return bool(line["seed"] == words.seed and bool(line["network"]) == words.network)

    def run() -> int:
        torch.set_num_threads(1)
        nets = networks("quick", "cpu", 1) if words.network else None
        done = {}
        if words.out.exists():
            lines = map(json.loads, words.out.read_text(encoding="utf-8").splitlines())
            done = {line["pair"]: line for line in lines if wanted(line)}
        pairs = [*PLANTS, *(f"{size}: clean {number}" for size in HALF for number in range(1, CLEAN + 1))]
        sets = {"small": Pictures(words.small, "small"), "large": Pictures(words.large, "large")}
        for number, name in enumerate(pairs):
            if name not in done and words.pairs in name:
                done[name] = asked(name, sets, number, words.seed, nets)
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
