"""Do two versions of the code train to the same losses, bit for bit? Tiny runs of everything, before a change and after it.

    python -m benchmarks.same before.json                       # on the code as it was
    python -m benchmarks.same after.json --against before.json  # on the code as it is now

Every task with a lens, with a rival and with none; other lenses, objectives and ways of a step; a planted shortcut; a run
that is stopped half way and resumed; two ranks; a proof of removal; a probe. Of each run every line of
`metrics.jsonl` is kept with its numbers in hexadecimal, the SHA-256 of its weights and what its summary measured. Exit code 1
where anything differs. Both have to be run on one machine: another one's CPU rounds otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL.Image

TINY = [
    "--extractor", "test_resnet", "--image_size", "32", "--cache_image_size", "36", "--batch_size", "4", "--steps", "4",
    "--log_every", "1", "--val_every", "2", "--checkpoint_every", "2", "--val_images", "8", "--threads", "1", "--device", "cpu",
]  # fmt: skip
ONE = ["--data", "photos/"]
TWO = ["--data", "photos/", "others/"]
LENS = ["--lens.depth", "3"]
TASKS = {
    "rotation": ONE, "jigsaw": [*ONE, "--task.permutations", "8"], "relative_patch": ONE, "exemplar": ONE, "colorization": ONE,
    "inpainting": ONE, "labels": ONE, "dataset_classification": TWO,
}  # fmt: skip
ARMS = {"lens": LENS, "fgsm": ["--lens", "fgsm"], "none": ["--lens", "none"]}
OTHERS = {
    "random": ["--lens", "random"],
    "smp lens": [*LENS, "--lens", "unet", "--lens.encoder", "resnet18"],
    "smooth lens": ["--lens", "smooth"],
    "colour lens": ["--lens", "colour", "--lens_grey", "free"],
    "full objective, joint": [*LENS, "--objective", "full", "--batch_norm", "joint", "--recon_weight", "30"],
    "lensed only, noise, averaged, every second step": [
        *LENS, "--feed", "lensed", "--lens_noise", "0.03", "--lens_ema", "0.9", "--lens_update_every", "2",
    ],
    "arrow": [*LENS, "--shortcut", "arrow"],
    "in two parts, mixed, all_conv": [*LENS, "--grad_accum_steps", "2", "--mixup", "0.2", "--extractor", "all_conv", "--rand_augment", "3"],
    "by hand": [*LENS, "--grey", "0.5", "--colour_jitter", "0.5", "--blur", "1"],
}  # fmt: skip
REMOVAL = ["--prove", "--judge_seeds", "1", "--judge_steps", "4", "--judges", "test_resnet"]
PASSING = ("seconds", "images_per_second", "versions", "git_commit", "command", "phases", "resumed", "data", "match")
"""Keys of a summary that say when and where, not what."""
NAMES = ("adversary", "lens", "objective", "norm_sync", "sync_batchnorm", "shuffle_targets", "shuffle_labels")
"""Keys of a summary that repeat settings: versions call them otherwise."""


def make_photos(folder: Path, seed: int) -> None:
    """Thirty pictures each of two classes, brighter at the top, so that a turn shows."""
    rng = np.random.default_rng(seed)
    for label in range(2):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(30):
            pixels = np.empty((40, 48, 3))
            pixels[:] = np.linspace(220, 30, 40)[:, None, None]
            pixels[..., 0 if label else 2] += 40 + 20 * seed
            pixels += rng.normal(0, 15, pixels.shape)
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"class{label}" / f"{i:03d}.png")


def exact(value: Any) -> Any:
    """Plain values with floats in hexadecimal."""
    if isinstance(value, dict):
        return {str(key): exact(one) for key, one in value.items() if key not in PASSING}
    if isinstance(value, list):
        return [exact(one) for one in value]
    return value.hex() if isinstance(value, float) else value


def record(directory: Path) -> dict[str, Any]:
    """What a run gave: its lines of metrics, the hashes of its weights, its summary."""
    lines = [exact(json.loads(line)) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    weights = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.glob("*.safetensors")}
    summary = exact(json.loads((directory / "summary.json").read_text()))
    return {"metrics": lines, "weights": weights, "summary": summary}


def run(module: str, *argv: str) -> None:
    """A verb in this process, silent unless it fails."""
    import importlib

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = importlib.import_module(f"lens.{module}").main(list(argv))
    if code:
        raise SystemExit(f"lens {module} {' '.join(argv)} ended with {code}:\n{told.getvalue()}")


def all_runs(root: Path) -> dict[str, dict[str, Any]]:
    """Train, probe and measure everything in the folder `root`, which becomes the working folder."""
    os.chdir(root)
    os.environ["LENS_CACHE"] = str(root / "cache")
    make_photos(root / "photos", 0)
    make_photos(root / "others", 1)
    wanted = {
        f"{task}, {arm}": [*given, *words, "--task", task]
        for task, given in TASKS.items()
        for arm, words in ARMS.items()
    }
    wanted |= {f"rotation, {name}": [*ONE, *words] for name, words in OTHERS.items()}
    wanted["dataset_classification, proof"] = [*TWO, *LENS, "--task", "dataset_classification", *REMOVAL]
    found = {}
    for number, (name, words) in enumerate(wanted.items()):
        print(f"\r{number + 1}/{len(wanted)} {name:60}", end="", file=sys.stderr, flush=True)
        place = f"runs/{number}"
        run("train", *TINY, *words, "--out", place)
        found[name] = record(Path(place))
        if (removal := Path(place) / "removal.json").exists():
            found[name]["removal"] = exact(json.loads(removal.read_text()))
    print(file=sys.stderr)
    run("train", *TINY, *ONE, *LENS, "--out", "runs/resumed")
    run("train", "--resume", "runs/resumed", "--steps", "7")
    found["resumed"] = record(Path("runs/resumed"))
    run("probe", "runs/0", "--probe", "others/")
    found["probed"] = record(Path("runs/0"))
    for ways in ("global", "local"):
        torchrun = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "lens.train",
        ]
        words = [*TINY, *ONE, *LENS, "--sync_batchnorm", ways, "--out", f"runs/{ways}"]
        done = subprocess.run([*torchrun, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found[f"two ranks, {ways}"] = record(Path(f"runs/{ways}"))
    return found


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two records differ, as paths of keys; keys that one alone has are named too."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted((one.keys() | other.keys()) - (set(NAMES) if place.endswith("/summary") else set()))
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{place}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line for i, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{place}/{i}")
        ]
    return [] if one == other else [f"{place}: {str(one)[:60]} → {str(other)[:60]}"]


def main() -> int:
    """Run everything, write the record, compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    out, against = arguments.out.resolve(), arguments.against and json.loads(arguments.against.read_text())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
        found = all_runs(Path(folder))
    out.write_text(json.dumps(found, indent=1) + "\n")
    losses = sum(len(one["metrics"]) for one in found.values())
    print(
        f"{len(found)} runs, {losses} lines of losses; all of it has the hash {hashlib.sha256(out.read_bytes()).hexdigest()[:16]}"
    )
    if against is None:
        return 0
    lines = differences(against, found)
    print("\n".join(lines) if lines else "no difference, to the last bit")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
