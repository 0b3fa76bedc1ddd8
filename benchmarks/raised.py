"""Are raised judges steadier than fresh ones? Both are asked for a cue that a step for both halves has hidden, seed by seed.

    nice -n 10 python -m benchmarks.raised --data cifar10 --images 4000 --steps 500 --seeds 0 1 2 3 4 5

Half of the images get one treatment, the others another (`--raw`), as `benchmarks.forensic` spells them; then both one more
(`--lensed`, the whole history). Every judge is asked which half an image is of: *fresh* ones learn lensed images, *twice as
long* for twice the steps, which is what a *raised* one takes: it learns raw ones first and is led to lensed ones. All seeds have
the same images; a steadier judge has the higher lowest reading, and the smaller spread, at no lower mean.

With `--run RUN [--shortcut FILE]` the question is that of a finished run: its sources, before its lens and after it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.forensic import treated
from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.measuring import judges
from lens.measuring.judge import Judge, Pictures
from lens.measuring.judges import Judging, Recipe
from lens.measuring.proportions import means_by_class
from lens.measuring.raised import Raised

Array = np.ndarray[Any, Any]
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
KINDS = ("fresh", "fresh, twice as long", "raised")


def halves(images: Array, words: tuple[str, str]) -> dict[str, Pictures]:
    """The images by split, each with the treatment of its half, which is the answer."""
    chance = np.random.default_rng(0)
    answer = (chance.permutation(len(images)) < len(images) // 2).astype(np.int64)
    shown = np.where(answer[:, None, None, None] == 1, *(treated(images, words[side]) for side in (1, 0)))
    ends = np.cumsum([int(share * len(images)) for share in SHARES.values()])
    parts = dict(zip(SHARES, np.split(chance.permutation(len(images)), ends[:-1]), strict=True))
    return {split: Pictures(shown[part], answer[part]) for split, part in parts.items()}


def judges_of(spec: str, raw: dict[str, Pictures], steps: int, size: int) -> dict[str, Judge]:
    """The three judges of an architecture, by kind."""
    recipe = Recipe(steps, least=steps // 2)
    stem = judges.stem_of(spec, size)
    judging = Judging({spec: stem}, [0], 0, recipe, size, torch.device("cpu"), contextlib.nullcontext)
    network = judging.fresh(spec, 2)
    longer = dataclasses.replace(network, recipe=dataclasses.replace(recipe, steps=2 * steps, least=steps))
    return dict(zip(KINDS, (network, longer, Raised(network, raw)), strict=True))


def of_data(asked: argparse.Namespace) -> tuple[dict[str, Pictures], dict[str, Pictures], int]:
    """The two halves with the first treatment, with both, and their size."""
    from lens.images.training_set import training_images
    from lens.settings.run_settings import Settings

    size = asked.image_size
    source = training_images(Settings.of({"data": asked.data, "image_size": size, "cache_image_size": size}))
    chosen = np.random.default_rng(0).permutation(len(source))[: asked.images]
    images = source.fetch(np.sort(chosen)).permute(0, 2, 3, 1).contiguous().numpy()
    raw, lensed = (halves(images, tuple(words)) for words in (asked.raw, asked.lensed))
    return raw, lensed, size


def before_and_after(argv: list[str]) -> tuple[dict[str, Pictures], dict[str, Pictures], int]:
    """The pictures of a finished run whose sources judges are asked for, raw and lensed, and their size; `argv` as of `lens prove`."""
    from lens.players.fabric import make_fabric
    from lens.players.finished import FinishedRun
    from lens.prove import ProveSettings
    from lens.proving.lensing import lens_splits
    from lens.record.run import Run
    from lens.settings.small_verbs import parse_simple

    asked = parse_simple(argv, "lens.prove", ProveSettings, "run", "run directory")
    with Run.open(Path(asked.run)) as run:
        finished = FinishedRun.of(run, argv, asked.changed)
        players = finished.players(finished.images(), make_fabric(finished.parsed.settings.machine))
        sets = lens_splits(players)
        raw, lensed = (sets.pictures(kind, "source") for kind in ("raw", "lensed"))
        return raw, lensed, finished.parsed.settings.data.image_size


def main(argv: list[str] | None = None) -> int:
    """Ask each kind with each seed, print a line for each, and the table; append every reading to a file of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10", help="a source, as for lens train")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--judges", nargs="+", default=["test_resnet", "all_conv"])
    parser.add_argument(
        "--run", help="a finished run, in place of --data; settings that `lens prove` would need come after all others"
    )
    parser.add_argument("--raw", nargs=2, default=["", "jpeg 40"])
    parser.add_argument("--lensed", nargs=2, default=["jpeg 20", "jpeg 40 20"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("raised.jsonl"), help="every reading, a line each")
    asked, more = parser.parse_known_args(argv)
    if more and not asked.run:
        parser.error(f"unknown: {' '.join(more)}")

    def run() -> int:
        torch.set_num_threads(asked.threads)
        if asked.run:
            raw, lensed, size = before_and_after([asked.run, *more])
        else:
            raw, lensed, size = of_data(asked)
        of = {"run": asked.run} if asked.run else {"raw": asked.raw, "lensed": asked.lensed}
        truth, read = lensed["test"].answer, {}
        for spec in asked.judges:
            for seed in asked.seeds:
                for kind, judge in judges_of(spec, raw, asked.steps, size).items():
                    start = time.process_time()
                    result = judge.read(lensed, seed, "lensed")
                    reads = 100 * float(means_by_class(result.answers == truth, truth).mean())
                    read.setdefault((spec, kind), []).append((reads, time.process_time() - start))
                    line = {"judge": spec, "kind": kind, "seed": seed, "test": reads, "val": 100 * result.validation}
                    with asked.out.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(line | of) + "\n")
        say("| judge | kind | read on test, % | lowest – highest | s.d. | CPU seconds a judge |")
        say("|---|---|---|---|---|---|")
        for (spec, kind), readings in read.items():
            test = np.array([one for one, _ in readings])
            spread = f"{test.min():.1f} – {test.max():.1f} | {test.std(ddof=1) if len(test) > 1 else 0:.1f}"
            seconds = np.mean([one for _, one in readings])
            say(f"| {spec} | {kind} | {test.mean():.1f} | {spread} | {seconds:.0f} |")
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
