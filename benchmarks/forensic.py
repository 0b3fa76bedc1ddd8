"""What a forensic judge reads of every plantable cue, and of images whose histories differ before the same last step.

    nice -n 10 python -m benchmarks.forensic --data ./cifar10/ --images 10000 --seeds 0 1 2

Half of the images, another half for each seed, get one treatment, the others another; trees on descriptors are asked which.
They are grown on 60 % of the images, stopped on 20 % and report the other 20 %. Row by row the reading must be seen beside
that of `nothing`, where both halves are the same: the null.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.measuring import forensic
from lens.measuring.proportions import means_by_class
from lens.protocols.lookup import find, names

Array = np.ndarray[Any, Any]
Treatment = Callable[[Tensor], Tensor]
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def planted(name: str) -> Treatment:
    """The shortcut of this name as the key `source` plants it in source 1 of two: its default strength, θ = 0."""
    from lens.base.draws import EVALUATION, Draws

    shortcut = find("shortcut", name)()

    def treat(images: Tensor) -> Tensor:
        index = torch.arange(len(images))
        planted: Tensor = shortcut.plant(images, torch.zeros(len(images)), Draws(0, EVALUATION, index, index * 0))
        return planted

    return treat


def jpeg(*qualities: int) -> Treatment:
    """Compressed at these qualities, one after the other."""
    from lens.operations.jpeg import compressed

    def treat(images: Tensor) -> Tensor:
        for quality in qualities:
            images = compressed(images, torch.full((len(images),), quality))
        return images

    return treat


def cast(*levels: int) -> Treatment:
    """Red raised and green lowered by these numbers of levels, one after the other, clipped each time."""

    def treat(images: Tensor) -> Tensor:
        for level in levels:
            images = (images + torch.tensor([level, -level, 0])[:, None, None] / 255).clamp(0, 1)
        return images

    return treat


def kinds() -> dict[str, tuple[str, str]]:
    """Each row's name with the treatments, by their words, of the two halves."""
    rows = {"nothing": ("", "")}
    rows |= {f"{name}, planted in one half": ("", f"plant {name}") for name in names("shortcut") if name != "none"}
    rows |= {
        "JPEG 40 in one half, then both at 20": ("jpeg 20", "jpeg 40 20"),
        "JPEG 95 and 75, then both at 50": ("jpeg 95 50", "jpeg 75 50"),
        "JPEG 40 in one half, then both at 40 once": ("jpeg 40", "jpeg 40 40"),
        "JPEG 40 in one half, then both at 40 six times": ("jpeg" + 6 * " 40", "jpeg" + 7 * " 40"),
        "cast of 20 levels in one half, both brought half way": ("cast 10", "cast 20 -10"),
        "cast of 20 levels in one half, 21 imposed on the other, both taken back by 10": ("cast 21 -10", "cast 20 -10"),
        "cast of 20 levels in one half, 20 imposed on the other, both taken back by 10": ("cast 20 -10", "cast 20 -10"),
    }
    return rows


def treated(images: Array, words: str) -> Array:
    """Images (n, H, W, 3) uint8 after a treatment, at 8 bits."""
    kind, *rest = words.split() or ["cast"]
    treat = planted(rest[0]) if kind == "plant" else {"jpeg": jpeg, "cast": cast}[kind](*map(int, rest))
    parts = []
    for start in range(0, len(images), 500):
        part = torch.from_numpy(images[start : start + 500]).permute(0, 3, 1, 2).float() / 255
        parts.append((treat(part) * 255).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def reading(halves: tuple[Array, Array], seed: int) -> dict[str, float]:
    """What the judge reads of two treatments' descriptors (n, D), balanced accuracies in %: `val`, `test`; `seconds`, `steps`."""
    start = time.perf_counter()
    chance = np.random.default_rng(seed)
    count = len(halves[0])
    second = chance.permutation(count) < count // 2
    ends = np.cumsum([int(share * count) for share in SHARES.values()])
    parts = dict(zip(SHARES, np.split(chance.permutation(count), ends[:-1]), strict=True))
    rows = {split: np.where(second[part, None], halves[1][part], halves[0][part]) for split, part in parts.items()}
    answer = {split: second[part].astype(np.int64) for split, part in parts.items()}
    result = forensic.judge_rows(rows, answer, seed)
    right = means_by_class(result.answers == answer["test"], answer["test"]).mean()
    passed = time.perf_counter() - start
    return {"val": 100 * result.validation, "test": 100 * float(right), "seconds": passed, "steps": result.steps}


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """The rows' means over the seeds, with the lowest and the highest."""
    lines = [
        "| what differs | read on test, % | lowest – highest | on validation | trees | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        test = [run["test"] for run in runs]
        val, steps, seconds = (np.mean([run[key] for run in runs]) for key in ("val", "steps", "seconds"))
        spread = f"{min(test):.1f} – {max(test):.1f}"
        lines.append(f"| {name} | {np.mean(test):.1f} | {spread} | {val:.1f} | {steps:.0f} | {seconds:.0f} |")
    return lines


def draw(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    """A dot for each seed, a row for each kind, the chance as a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 0.3 * len(found) + 0.8))
    for place, runs in enumerate(found.values()):
        axis.plot([run["test"] for run in runs], [place] * len(runs), "o", color="C0", alpha=0.6, markersize=5)
    axis.axvline(50, color="grey", linewidth=1)
    axis.set_yticks(range(len(found)), list(found), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("balanced accuracy of a forensic judge on test, % (line: chance)")
    axis.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> int:
    """Describe each treatment once, ask the judge about every row with every seed, write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="chest_xray", help="a source, as for lens train")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/forensic.md"), help="table; beside it the picture")
    asked = parser.parse_args(argv)

    def run() -> int:
        from lens.images.training_set import training_images
        from lens.settings.run_settings import Settings

        size = asked.image_size
        source = training_images(Settings.of({"data": asked.data, "image_size": size, "cache_image_size": size}))
        chosen = np.random.default_rng(0).permutation(len(source))[: asked.images]
        images = source.fetch(np.sort(chosen)).permute(0, 2, 3, 1).contiguous().numpy()
        described: dict[str, Array] = {}
        found: dict[str, list[dict[str, float]]] = {}
        spent = []
        for name, halves in kinds().items():
            for words in halves:
                if words not in described:
                    pictures, start = treated(images, words), time.perf_counter()
                    described[words] = forensic.described(pictures)[0]
                    spent.append(time.perf_counter() - start)
            found[name] = [reading((described[halves[0]], described[halves[1]]), seed) for seed in asked.seeds]
            say(table({name: found[name]})[-1])
        columns = described[""].shape[1]
        lines = [
            "# What a forensic judge reads",
            "",
            "Trees on descriptors (`lens/measuring/forensic.py`) are asked which of two treatments an image had: balanced accuracy on "
            "test images, the mean over the seeds, chance 50. Made by",
            "",
            "```bash parsed: it would write over this table",
            f"python -m benchmarks.forensic {' '.join(argv if argv is not None else sys.argv[1:])}",
            "```",
            "",
            f"{len(images):,} images of {size} px, {columns} descriptors in {np.mean(spent):.0f} s for all of them; "
            f"{len(asked.seeds)} seeds (each another half and other parts). The first row is the null.",
            "",
            *table(found),
            "",
            f"![Readings by seed]({asked.out.stem}.png)",
        ]
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draw(found, asked.out.with_suffix(".png"))
        print("\n".join(lines))
        return 0

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
