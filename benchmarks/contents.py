"""How much do the audit's rows of history read where folders differ in what they show, and in nothing that was done to them?

    nice -n 10 python -m benchmarks.contents --small ./cifar10/ --large ./caltech101/ --photos ./pacs_photo/ --out contents.json

Of each set some classes make the first folder and others the second: PNG copies of the pixels, untouched. All pictures of a set were
stored in one way, as far as is known, so what a row of history reads of them is a leak of contents (or a trace of how the pictures were
stored before the set was made: an upper end). `lens.auditing.verdict.LEAKS` is what the verdict allows for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens.auditing import ladder
from lens.auditing.asked import AuditSettings
from lens.auditing.keeping import Finished
from lens.auditing.seen import seen
from lens.auditing.verdict import LEAKS
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.files import json_text, write_atomically
from lens.base.markdown import markdown_table
from lens.base.terminal import print_lines, say
from lens.images.opening import open_source
from lens.protocols.source import Source
from lens.results.audit import Row

Array = np.ndarray[Any, Any]
ANIMALS = (
    "Leopards ant bass beaver butterfly cougar_body cougar_face crab crayfish crocodile crocodile_head dalmatian dolphin dragonfly "
    "elephant emu flamingo flamingo_head gerenuk hawksbill hedgehog ibis kangaroo llama lobster mayfly nautilus octopus okapi panda pigeon "
    "platypus rhino rooster scorpion sea_horse starfish tick wild_cat"
)
"""Classes of Caltech-101."""


@dataclasses.dataclass(frozen=True)
class Halves:
    """The classes of two folders of one set; the second is all others where it names none."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...] = ()


HALVES = {
    "small": Halves("planes and ships / deer and frogs", ("airplane", "ship"), ("deer", "frog")),
    "large": Halves("animals / the rest", tuple(ANIMALS.split())),
    "photos": Halves("animals / houses, guitars", ("dog", "elephant", "giraffe", "horse"), ("house", "guitar")),
}
SIDE = {"small": 32, "large": 48, "photos": 48}
"""The side of the squares that cues of pixels are given."""


def positions(source: Source, halves: Halves, count: int, seed: int) -> list[Array]:
    """At most so many random pictures of each half, as many of both. Raises BadInput for a class that the source does not have."""
    listing = source.listing()
    if missing := sorted({*halves.first, *halves.second} - set(listing.classes)):
        raise BadInput(f"no class {', '.join(missing)}: {halves.name} asks for it")
    second = halves.second or tuple(name for name in listing.classes if name not in halves.first)
    labels = np.array([-1 if record.label is None else record.label for record in listing.records])
    parts = [
        np.flatnonzero(np.isin(labels, [listing.classes.index(name) for name in names]))
        for names in (halves.first, second)
    ]
    chance = np.random.default_rng(seed)
    most = min(count, *map(len, parts))
    return [chance.permutation(part)[:most] for part in parts]


def asked(source: Source, halves: Halves, side: int, count: int, seed: int) -> list[Row]:
    """The rows of history about two folders that show different things."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("first", "second")]
        chosen = positions(source, halves, count, seed)
        for folder, part in zip(folders, chosen, strict=True):
            folder.mkdir()
            for position in part.tolist():
                with source.read(position) as image:
                    image.convert("RGB").save(folder / f"{position:05d}.png", compress_level=1)
        settings = AuditSettings(
            [str(folder) for folder in folders], images=count, image_size=side, seed=seed, threads=1
        )
        data = seen(settings, {})
        history = {name: own for name, own in data.columns.items() if data.cues[name].kind == "history"}
        data = dataclasses.replace(data, columns=history)
        return ladder.rows_of(data, ladder.by_trees(data, seed, Finished(None, settings)), seed)


def line(halves: Halves, row: Row, images: int) -> tuple[str, ...]:
    """A row of the table."""
    low, high = row.balanced_accuracy.interval
    allowed = "never acquisition" if not row.acquisition else "more than allowed" if row.excess > LEAKS else "yes"
    shown = (f"{100 * row.accuracy:.1f} ({100 * low:.1f} – {100 * high:.1f})", f"{100 * row.null:.1f}")
    return (halves.name, f"{images}", row.name.replace("_", " "), *shown, allowed)


def main(argv: list[str] | None = None) -> int:
    """Ask about every set that is given, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", help="CIFAR-10, as for lens train --data")
    parser.add_argument("--large", help="Caltech-101")
    parser.add_argument("--photos", help="the photos of PACS")
    parser.add_argument("--images", type=int, default=600, help="of each folder, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    words = vars(parser.parse_args(argv))

    def run() -> int:
        torch.set_num_threads(1)
        lines: list[tuple[str, ...]] = []
        kept: list[dict[str, Any]] = []
        for name, halves in HALVES.items():
            if words[name] is None:
                continue
            source = open_source(words[name])
            images = len(positions(source, halves, words["images"], words["seed"])[0])
            for row in asked(source, halves, SIDE[name], words["images"], words["seed"]):
                lines.append(line(halves, row, images))
                kept.append({"halves": halves.name, "images": images} | row.to_json())
        if not lines:
            raise BadInput("no set is given: give one or more of --small, --large, --photos")
        head = ("halves", "of each", "row", "accuracy, %", "null, %", f"within {50 + 50 * LEAKS:.0f} %")
        print_lines(markdown_table([head, ("---", "---:", "---", "---", "---:", "---"), *lines]))
        if words["out"] is not None:
            write_atomically(words["out"], json_text(kept))
            say(f"written: {words['out']}")
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
