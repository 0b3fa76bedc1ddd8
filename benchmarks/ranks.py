"""Two processes against one: do they make the same updates, and how fast are they?

    python -m benchmarks.ranks [--rounds 3] [--steps 30] [--out results/ranks.md]

First the same three updates in float64 with one process and with two under torchrun (gloo, CPU; dropout 0, global batch
statistics): the largest difference of any tensor of a checkpoint. Then `lens.train` at its default settings, without an
evaluation, in interleaved rounds: images per second of one process with 1 and 2 threads, and of two with 1 thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from lens.settings.run_settings import Settings

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
WAYS = {
    "1 process, 1 thread": ([sys.executable], "1"),
    "1 process, 2 threads": ([sys.executable], "2"),
    "2 processes, 1 thread each": (TORCHRUN, "1"),
}


def train(way: str, out: Path, *more: str) -> dict[str, float]:
    """One run; its summary."""
    launcher, threads = WAYS[way]
    argv = [*launcher, "-m", "lens.train", "--device", "cpu", "--threads", threads, "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    done = subprocess.run(argv, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    summary: dict[str, float] = json.loads((out / "summary.json").read_text())
    return summary


def difference(one: Path, two: Path) -> list[tuple[int, float, float]]:
    """For each step that both have a checkpoint of: the largest absolute difference, and the largest value beside it."""
    from safetensors.torch import load_file

    found = []
    for place in sorted((one / "checkpoint").glob("step-*")):
        a, b = (load_file(run / "checkpoint" / place.name / "players.safetensors") for run in (one, two))
        worst = max(a, key=lambda name: float((a[name].double() - b[name].double()).abs().max()))
        apart = float((a[worst].double() - b[worst].double()).abs().max())
        found.append((int(place.name.split("-")[1]), apart, float(a[worst].double().abs().max())))
    return found


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("results/ranks.md"))
    asked = parser.parse_args()
    few = ["--test_images", "32", "--probe_images", "64", "--val_images", "16"]
    with tempfile.TemporaryDirectory() as folder:
        double = ["--precision", "64", "--image_size", "32", "--checkpoint_every", "1", *few]
        for way in ("1 process, 1 thread", "2 processes, 1 thread each"):
            for steps in (1, 3):  # the last two checkpoints are kept
                train(way, Path(folder) / f"{way}-{steps}", "--steps", str(steps), *double)
        apart = []
        for steps in (1, 3):
            apart += difference(
                *(Path(folder) / f"{way}-{steps}" for way in ("1 process, 1 thread", "2 processes, 1 thread each"))
            )
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(asked.rounds):
            for way in list(WAYS)[number % len(WAYS) :] + list(WAYS)[: number % len(WAYS)]:
                summary = train(way, Path(folder) / f"{way}-rate-{number}", "--steps", str(asked.steps), *few)
                rates[way].append(summary["images_per_second"])
                print(f"round {number}: {way}: {rates[way][-1]:.2f} images/s", flush=True)
    usual = Settings()
    first = statistics.median(rates["1 process, 1 thread"])
    lines = [
        "# Two processes against one",
        "",
        f"`python -m benchmarks.ranks --rounds {asked.rounds} --steps {asked.steps}`, {os.cpu_count()} CPU cores.",
        "",
        f"The same updates in float64 (`{usual.extractor}`, 32 px, global batch of {usual.batch_size} images in four views, batch norm "
        "over all ranks):",
        "",
        "| after update | largest difference of any tensor | largest value of that tensor |",
        "|---|---|---|",
        *(f"| {step} | {gap:.1e} | {value:.1e} |" for step, gap, value in apart),
        "",
        f"Images per second of training at the default settings (`{usual.extractor}`, {usual.image_size} px, {usual.batch_size} images), "
        "median and range over rounds:",
        "",
        "| way | images/s | range | of one process with one thread |",
        "|---|---|---|---|",
    ]
    for way, values in rates.items():
        middle = statistics.median(values)
        lines.append(f"| {way} | {middle:.2f} | {min(values):.2f} – {max(values):.2f} | {middle / first:.2f} |")
    asked.out.write_text("\n".join(lines) + "\n")
    print(asked.out.read_text())


if __name__ == "__main__":
    main()
