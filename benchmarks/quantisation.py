"""Are the steps that JPEG rounded to recovered from PNG copies of its files?

    nice -n 10 python -m benchmarks.quantisation --data ./caltech101/ --images 60 --out results/quantisation.md

Sources of pictures that share none, each stored once at a quality of its own between 30 and 95, with or without chroma
subsampling, and read again. Large pictures are resized to two thirds before, so that what they were compressed with is gone.
Counted are the sources whose quality is named within one, and of the steps that are told those that are right.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.images.opening import open_source
from lens.operations.jpeg import tables
from lens.operations.quantisation_steps import recovered_of
from lens.protocols.source import Source

Array = np.ndarray[Any, Any]
LOWEST, HIGHEST = 30, 95
SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
"""Pillow's numbers for chroma subsampling."""
LARGE = 100
"""The shorter side in pixels from which pictures are resized before they are stored."""
COLUMNS = (
    "stored at",
    "chroma",
    "named",
    "chroma named",
    "chroma as",
    "steps told",
    "right, %",
    "of chroma told",
    "right, %",
    "seconds",
)


def copies(source: Source, positions: Array, quality: int, subsampling: int) -> list[Array]:
    """Pictures (H, W, 3) as PNG copies of their JPEG files would hold them."""
    found = []
    for position in positions.tolist():
        with source.read(position) as opened:
            image = opened.convert("RGB")
        if min(image.size) >= LARGE:
            image = image.resize((image.width * 2 // 3, image.height * 2 // 3), PIL.Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality, subsampling=subsampling)
        found.append(np.array(PIL.Image.open(stream).convert("RGB")))
    return found


def measured(source: Source, positions: Array, quality: int, subsampling: int) -> tuple[bool, list[str]]:
    """Whether one source's quality is named within one, and its row."""
    pictures = copies(source, positions, quality, subsampling)
    start = time.process_time()
    found = recovered_of(pictures)
    seconds = time.process_time() - start
    true = tables(torch.tensor([quality]))[0].numpy()
    cells = [str(quality), SAMPLINGS[subsampling], str(found.quality), str(found.chroma_quality), str(found.sampling)]
    for steps, own in ((found.luminance, true[0]), (found.chroma, true[1])):
        told = steps > 0
        cells += [str(told.sum()), f"{100 * (steps == own)[told].mean():.0f}" if told.any() else ""]
    return found.quality is not None and abs(found.quality - quality) <= 1, [*cells, f"{seconds:.1f}"]


def main(argv: list[str] | None = None) -> int:
    """Measure every source, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a source, as for lens train")
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--images", type=int, default=60, help="pictures of each source")
    parser.add_argument("--out", type=Path, default=None, help="the table, as a page")
    asked = parser.parse_args(argv)

    def run() -> int:
        torch.set_num_threads(1)
        source = open_source(asked.data)
        order = np.random.default_rng(0).permutation(len(source.listing().records))
        lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        named = 0
        for number, quality in enumerate(np.linspace(LOWEST, HIGHEST, asked.sources).round().astype(int).tolist()):
            positions = order[number * asked.images : (number + 1) * asked.images]
            right, cells = measured(source, positions, quality, number % len(SAMPLINGS))
            named += right
            lines.append(f"| {' | '.join(cells)} |")
            say(lines[-1])
        lines += ["", f"{named} of {asked.sources} sources are named within one."]
        if asked.out is not None:
            asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines))
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
