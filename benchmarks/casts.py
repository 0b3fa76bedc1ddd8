"""Is a colour cast told to the level, between two random halves of a set that share no picture?

    nice -n 10 python -m benchmarks.casts --data ./cifar10/ --images 400

Every hue at several strengths is planted in the second half. What the audit says of the ends of its channels' levels is held
against what was planted: both channels by how many levels, and nothing of the third.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from lens.auditing import levels
from lens.base.draws import EVALUATION, Draws
from lens.base.entry_point import guard
from lens.base.markdown import markdown_table
from lens.base.terminal import print_lines
from lens.images.opening import open_source
from lens.protocols.lookup import find
from lens.results.audit import Levels

STRENGTHS = (0.02, 0.04, 0.08, 0.15)
HUES = ((0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1))
"""Which channel a cast raises, and which it lowers."""


def ends(pictures: list[np.ndarray]) -> Levels:
    """Where the channels of some pictures begin and end."""
    return levels.ends(np.sum([levels.counted(picture) for picture in pictures], axis=0))


def right(first: Levels, second: Levels, hue: int, strength: float) -> bool:
    """Whether the audit's words say of the second exactly what was planted."""
    by = round(strength * 255)
    wanted = {
        levels.CHANNELS[HUES[hue][0]]: f"raised by {by} levels",
        levels.CHANNELS[HUES[hue][1]]: f"lowered by {by} levels",
    }
    said = {line.partition(":")[0]: line for line in levels.words([first, second], ["a", "b"])}
    return said.keys() == wanted.keys() and all(f"b were {wanted[channel]}" in said[channel] for channel in wanted)


def measured(data: str, count: int, seed: int) -> int:
    """Plant every cast, print how many are told exactly."""
    source = open_source(data)
    total = len(source.listing().records)
    order = np.random.default_rng(seed).permutation(total)[: 2 * count]
    pictures = []
    for position in order.tolist():
        with source.read(position) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    halves = pictures[: len(pictures) // 2], pictures[len(pictures) // 2 :]
    first, one = ends(halves[0]), torch.zeros(1, dtype=torch.int64)
    rows = []
    for strength in STRENGTHS:
        told = 0
        for hue in range(len(HUES)):
            cast = find("shortcut", "colour_cast")(strength=strength)
            planted = []
            for picture in halves[1]:
                image = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
                shown = cast.plant(image, torch.tensor([hue / len(HUES)]), Draws(0, EVALUATION, one, one))
                planted.append((shown[0] * 255).round().byte().permute(1, 2, 0).numpy())
            told += right(first, ends(planted), hue, strength)
        rows.append((f"±{strength:g} ({round(strength * 255)} levels)", f"{told} of {len(HUES)}"))
    nothing = levels.words([first, ends(halves[1])], ["a", "b"])
    rows.append(("none", "nothing said" if not nothing else "; ".join(nothing)))
    print_lines(markdown_table([("cast", "told to the level"), ("---", "---"), *rows]))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a source, as for lens.audit")
    parser.add_argument("--images", type=int, default=400, help="of each half")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    return guard(lambda: measured(asked.data, asked.images, asked.seed))


if __name__ == "__main__":
    raise SystemExit(main())
