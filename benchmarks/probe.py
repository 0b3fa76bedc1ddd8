"""What linear probes on ImageNet's number of features cost: resident memory and seconds, on features of our own making.

    python -m benchmarks.probe                                       # 1,281,167 × 2,048, 1,000 classes, one epoch of SGD
    python -m benchmarks.probe --rows 20000 --width 256 --epochs 70  # small

The features are class centres and noise, written in parts to where `lens.measuring.feature_store` keeps them (16 bits, a file in
--folder). Then `lens.measuring.linear.sgd` for --epochs, stopped after --steps where given, and the streamed L-BFGS
for some sums over all rows. A thread reads /proc/self/status ten times a second: RssAnon is memory of the process's own; RssFile are pages of files,
the features among them, which the operating system takes back when somebody else needs the room.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.measuring import feature_store, logistic, sgd, training_rows


class Enough(Exception):
    """L-BFGS has been watched for long enough."""


class Counted(training_rows.Rows):
    """Rows that are summed over `left` times, then no more."""

    left: ClassVar[int] = 0

    def loss(self, weights: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        if Counted.left == 0:
            raise Enough
        Counted.left -= 1
        return super().loss(weights)


class Peaks:
    """The highest RssAnon and RssFile, in GB, since the last phase began."""

    def __init__(self) -> None:
        self.highest: dict[str, float] = {}

    def sample(self) -> None:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        for name, kilobytes in re.findall(r"(RssAnon|RssFile):\s+(\d+) kB", status):
            self.highest[name] = max(self.highest.get(name, 0.0), int(kilobytes) * 1024 / 1e9)

    @contextlib.contextmanager
    def phase(self, result: dict[str, Any]) -> Iterator[None]:
        """Sample while the phase lasts; its peaks, seconds and processor seconds go into `result`."""
        self.highest.clear()
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                self.sample()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        start, processor = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            result["seconds"] = time.perf_counter() - start
            result["cpu_seconds"] = time.process_time() - processor
            over.set()
            thread.join()
            self.sample()
            result["rss_anon_gb"], result["rss_file_gb"] = self.highest["RssAnon"], self.highest["RssFile"]


def make(rows: int, width: int, classes: int, folder: Path, seed: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Rows (n, F): a centre for each class, of deviation 0.1 in each column, and noise of deviation 1."""
    centres = np.random.default_rng(0).standard_normal((classes, width), np.float32) * 0.1
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    features = feature_store.allocate(rows, width, folder)
    for part in feature_store.chunks(rows):
        noise = rng.standard_normal((part.stop - part.start, width), np.float32)
        feature_store.write(features, part.start, noise + centres[labels[part]])
    return features, labels


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the features, fit both probes for as long as asked."""
    commit = _commit()  # now: another may be checked out before the end
    sizes = {"train": asked.rows, "val": asked.held_out, "test": asked.held_out}
    peaks = Peaks()
    phases: dict[str, dict[str, Any]] = {}

    def phase(name: str) -> contextlib.AbstractContextManager[None]:
        say(f"{name} …")
        return peaks.phase(phases.setdefault(name, {}))

    with phase("make the features"):
        made = {split: make(n, asked.width, asked.classes, folder, i + 1) for i, (split, n) in enumerate(sizes.items())}
    features, labels = ({split: pair[i] for split, pair in made.items()} for i in (0, 1))
    train = features["train"]
    phases["make the features"]["gb"] = train.nbytes / 1e9

    with phase("mean and deviation"):
        rows = Counted.of(train, labels["train"], "cpu")

    steps = 0

    def step(done: int, total: int) -> bool:
        nonlocal steps
        steps = done
        return asked.steps is not None and done >= asked.steps

    with phase("SGD"):
        correct, fit = sgd.sgd(features, labels, 0, asked.epochs, "cpu", step)
    per_epoch = asked.rows // fit.batch
    phases["SGD"] |= {"steps": steps, "epochs": steps / per_epoch}
    phases["SGD"] |= {"validation": fit.validation, "test": float(correct.mean())}

    if asked.sums:
        Counted.left = asked.sums
        with phase("L-BFGS"), contextlib.suppress(Enough):
            logistic.minimise(rows, 1.0, np.zeros((len(rows.classes), asked.width + 1)))
        made_sums = asked.sums - Counted.left
        phases["L-BFGS"] |= {"sums": made_sums, "cpu_seconds_per_sum": phases["L-BFGS"]["cpu_seconds"] / made_sums}

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "rows": asked.rows, "width": asked.width, "classes": asked.classes, "held_out": asked.held_out,
        "dtype": str(train.dtype), "in_a_file": feature_store.is_stored(train), "threads": torch.get_num_threads(),
        "cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__, "commit": commit,
        "command": asked.command, "peak_rss_gb": peak, "phases": phases,
    }  # fmt: skip


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    phases = result["phases"]
    made, sgd = phases["make the features"], phases["SGD"]
    lines = [
        "# Memory and time of linear probes on stored features",
        "",
        f"`{result['command']}` at {result['commit']}, {result['cores']} cores ({result['threads']} used), torch {result['torch']}.",
        "",
        f"Synthetic features: {result['rows']:,} × {result['width']:,} {result['dtype']} ({made['gb']:.2f} GB"
        f"{' in a file' if result['in_a_file'] else ' in memory'}), {result['classes']:,} classes; validation and test "
        f"{result['held_out']:,} each. RssAnon is memory of the process's own; RssFile are pages of files that the operating "
        "system can take back, the features among them.",
        "",
        "| phase | seconds | of the processor | peak RssAnon, GB | peak RssFile, GB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, part in phases.items():
        lines.append(
            f"| {name} | {part['seconds']:.0f} | {part['cpu_seconds']:.0f} | {part['rss_anon_gb']:.2f} | {part['rss_file_gb']:.2f} |"
        )
    lines += ["", f"Peak resident memory of the whole process: {result['peak_rss_gb']:.2f} GB (getrusage).", ""]
    lines.append(
        f"SGD: {sgd['steps']:,} steps, {sgd['epochs']:.2f} epochs, {sgd['cpu_seconds'] / sgd['epochs']:.0f} processor seconds an epoch "
        f"(mean and deviation, and both accuracies, included); validation accuracy then {sgd['validation']:.1%}."
    )
    if "L-BFGS" in phases:
        part = phases["L-BFGS"]
        lines.append(
            f"L-BFGS: stopped after {part['sums']} sums over all rows (loss and gradient), {part['cpu_seconds_per_sum']:.0f} processor seconds each."
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write it and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_281_167, help="training rows")
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--held_out", type=int, default=50_000, help="rows of validation and of test")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of SGD")
    parser.add_argument("--steps", type=int, help="stop SGD after so many steps")
    parser.add_argument(
        "--sums", type=int, default=2, help="stop L-BFGS after so many sums over all rows; 0 leaves it out"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the features lie while they are used; default: the system's")
    parser.add_argument("--out", type=Path, help="file for the table; the JSON lies beside it")
    arguments = parser.parse_args(argv)
    given = sys.argv[1:] if argv is None else argv
    arguments.command = " ".join(["python -m benchmarks.probe", *given])

    def run() -> int:
        torch.set_num_threads(arguments.threads)
        result = measure(arguments, arguments.folder or Path(tempfile.gettempdir()))
        print(table(result))
        if arguments.out:
            arguments.out.write_text(table(result) + "\n", encoding="utf-8")
            arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        return 0

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
