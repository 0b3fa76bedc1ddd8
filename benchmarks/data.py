"""How fast images can be fed: decoding, reading the cache, and decoding in a loader's workers, each beside a plain loop.

    python -m benchmarks.data                                     # 512 JPEGs of 500×375 of its own making
    python -m benchmarks.data --data ./photos/ --json data.json   # your own images

Every figure is images a second, the median over interleaved rounds with its range; divide what a training step needs by
it. *decode* is `lens.images.decoding.to_square` on one core, against PIL's shortest way to a square of that size; *cache* is
training batches from the disk cache, against a plain index into an array in memory; *uncached* is training batches under
`--cache none` in all cores' threads. Files are in the operating system's cache after the first round, which is not
counted: a slow disk is slower than this.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from lens.base.entry_point import guard
from lens.images import batching, data, loading, opening
from lens.images.decoding import read_square
from lens.settings.groups.data import DataSettings


def make_jpegs(folder: Path, count: int, width: int = 500, height: int = 375) -> None:
    """Photos of our own: smooth colour and grain, so that they compress about as photos do."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.normal(0, 8, pixels.shape).astype(np.int16)
        PIL.Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=90)


def measure(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Images a second of each way in each round; a way returns how many images it made. Round 0 warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            count = way()
            if number:
                rates[name].append(count / (time.perf_counter() - start))
    return rates


def compare(key: str, size: int, batch_size: int, images: int, rounds: int, place: Path) -> dict[str, Any]:
    """The rates of all ways on at most `images` images of a source."""

    def load(cache: str) -> data.Images:
        return loading.load(
            DataSettings(
                data=[key], image_size=8, cache_image_size=size, cache_dir=str(place), max_bad_fraction=1, cache=cache
            )
        )

    source = opening.open_source(key, cache_dir=place)
    total = len(source.listing().records)
    sample = np.unique(np.linspace(0, total - 1, min(images, total)).astype(int)).tolist()
    cached, uncached = load("disk"), load("none")
    batch_size = min(batch_size, len(cached.indices("train")))
    steps = max(1, len(sample) // batch_size)
    memory = np.array(cached.arrays[0][np.arange(min(len(sample), len(cached)))])
    order = np.random.default_rng(0).integers(0, len(memory), (steps, batch_size))

    def decode() -> int:
        for position in sample:
            read_square(source, position, size)
        return len(sample)

    def plain_decode() -> int:
        for position in sample:
            with source.read(position) as image:
                side = min(image.size)
                np.asarray(image.convert("RGB").resize((size, size), PIL.Image.Resampling.BICUBIC, (0, 0, side, side)))
        return len(sample)

    def batches(images: data.Images) -> Callable[[], int]:
        return lambda: sum(len(batch.index) for batch in batching.training_batches(images, batch_size, 0, 0, steps, 0))

    def plain_batches() -> int:
        return sum(len(memory[rows]) for rows in order)

    ways: dict[str, Callable[[], int]] = {
        "decode": decode,
        "decode, plain": plain_decode,
        "cache": batches(cached),
        "cache, plain": plain_batches,
        "uncached": batches(uncached),
    }
    result: dict[str, Any] = {"data": key, "images": len(sample), "size": size, "batch_size": batch_size}
    result |= {"rounds": rounds, "cores": os.cpu_count(), "image_bytes": size * size * 3, "rates": {}}
    for name, rates in measure(ways, rounds).items():
        middle = statistics.median(rates)
        part = {"images_per_second": middle, "lowest": min(rates), "highest": max(rates)}
        result["rates"][name] = part | {"megabytes_per_second": middle * size * size * 3 / 1e6}
    return result


def table(result: dict[str, Any]) -> str:
    """The rates as a Markdown table."""
    lines = [
        f"{result['images']} images of {result['data']} at {result['size']} px, batches of {result['batch_size']}, "
        f"{result['rounds']} rounds, {result['cores']} cores",
        "",
        "| way | images/s | lowest – highest | MB/s of squares |",
        "|---|---|---|---|",
    ]
    for name, part in result["rates"].items():
        spread = f"{part['lowest']:,.0f} – {part['highest']:,.0f}"
        lines.append(f"| {name} | {part['images_per_second']:,.0f} | {spread} | {part['megabytes_per_second']:,.1f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a source, as for lens train; default: JPEGs of its own making")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--size", type=int, default=110, help="side of the squares, the default of lens train")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            key = arguments.data
            if key is None:
                key = f"{folder}/photos"
                Path(key).mkdir()
                make_jpegs(Path(key), arguments.images)
            result = compare(
                key, arguments.size, arguments.batch_size, arguments.images, arguments.rounds, Path(folder, "cache")
            )
        if arguments.data is None:
            result["data"] = "500×375 JPEGs"
        print(table(result))
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        return 0

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
