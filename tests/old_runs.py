"""Run directories of earlier versions in `runs/`: how each was made, and how a test takes one up.

    git worktree add /elsewhere/0.3.0 COMMIT
    python tests/old_runs.py 0.3.0 /elsewhere/0.3.0

trains all runs of a version anew, by its own code with the libraries of today, and replaces `runs/0.3.0`; `COMMITS` are the
last ones of each version before anything of the next. A directory is as the version left it, but for this: the PNGs in
`figures` are left out; the safetensors files are packed (`.xz`), which their many zeros make small; `lock` names no machine.
Beside it lies what the version logged when the finished run was trained further (`NAME.further.jsonl`).
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image

COMMITS = {"0.1.0": "e5a2f63", "0.2.0": "3b70417", "0.3.0": "cb97cd4"}
FOLDER = Path(__file__).parent / "runs"
MIDDLE, STEPS, FURTHER = 3, 6, 8
"""Steps of a run: at its first checkpoint, at its end, and when it is trained further."""
COMMON = [
    "--image_size", "32", "--cache_size", "36", "--batch_size", "4", "--steps", str(STEPS), "--log_every", "1",
    "--eval_every", str(MIDDLE), "--checkpoint_every", str(MIDDLE), "--eval_images", "8", "--threads", "1", "--device", "cpu",
    "--extractor", "resnet10t", "--extractor_args.channels", "[4, 4, 4, 4]", "--extractor_args.stem_width", "4",
    "--lr", "3e-3",
]  # fmt: skip
ARROW = ["--shortcut", "arrow", "--data", "./photos"]
SOURCES = [*ARROW, "./scans", "--shortcut_key", "source"]
LENS = [
    "--lens_encoder", "tu-ghostnet_050", "--lens_depth", "3", "--lens_weights", "start.safetensors", "--lens_lr", "1e-2",
]  # fmt: skip
NONE = ["--adversary", "none", "--optimizer", "sgd"]
FGSM = ["--adversary", "fgsm", "--match_mse", "lens"]
JIGSAW = [
    "--task", "jigsaw", "--jigsaw.permutations", "24", "--jigsaw.embedding", "4", "--jigsaw.hidden", "8",
    "--shortcut", "chromatic", "--data", "./photos", "--feed", "lensed", "--accumulate", "2",
]  # fmt: skip
RUNS = {
    ("0.1.0", "lens"): [*ARROW, *LENS],
    ("0.1.0", "none"): [*ARROW, *NONE],
    ("0.2.0", "lens"): [*SOURCES, *LENS],
    ("0.2.0", "none"): [*SOURCES, *NONE],
    ("0.2.0", "fgsm"): [*SOURCES, *FGSM],
    ("0.3.0", "lens"): [*ARROW, *LENS],
    ("0.3.0", "none"): [*ARROW, *NONE],
    ("0.3.0", "fgsm"): [*ARROW, *FGSM],
    ("0.3.0", "jigsaw"): [*JIGSAW, *LENS],
}
"""The words of each run, by version and name."""


def photos(place: Path) -> None:
    """Two sources of two classes, `photos` and `scans`, the same on every machine: of whole numbers."""
    row, column = np.mgrid[:40, :44]
    for source, numbers in {"photos": range(180, 210), "scans": range(480, 490)}.items():
        for label, number in ((label, number) for label in range(2) for number in numbers):
            noise = (row * 7919 + column * 104729 + number * 1299709 + label * 15485863) * 2654435761 // 2**16 % 32
            pixels = (210 - 4 * row + noise)[..., None].repeat(3, axis=2)
            if number % 3:  # the others are grey
                pixels[..., 0] += (number * 37 + label * 11) % 48 + 12 * label
            file = place / source / f"class{label}" / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)


def take(version: str, name: str, place: Path) -> Path:
    """A run in `place`, in a folder of its name, as the version left it."""
    copy = place / name
    shutil.copytree(FOLDER / version / name, copy)
    for packed in copy.rglob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    return copy


def further(version: str, name: str) -> Path:
    """The lines that the version wrote when it trained the finished run further."""
    return FOLDER / version / f"{name}.further.jsonl"


# --- how they were made ----------------------------------------------------------------------------------------------

START = """
import torch
from safetensors.torch import save_file
from lens.networks import Lens

torch.manual_seed(0)
lens = Lens("tu-ghostnet_050", 3)
live, before = 2, None
# A unit whose weights, scale and shift are all zero never moves: the lens stays as sparse, and its file small.
for block in lens.unet.decoder.blocks:
    for convolution, norm, *_ in (block.conv1, block.conv2):
        convolution.weight.data[live:] = 0
        norm.weight.data[live:] = 0
        if before is not None:
            convolution.weight.data[:, live:before] = 0
        before = len(convolution.weight)
save_file(lens.state_dict(), "start.safetensors")
"""
"""Writes the weights that every lens begins with."""


def make(version: str, checkout: Path) -> None:
    """Train a version's runs with the code in `checkout`, and replace those in `runs/`."""
    names = [name for of, name in RUNS if of == version]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = os.environ | {"PYTHONPATH": str(checkout), "LENS_CACHE": str(work / "cache")}

        def python(*words: str) -> None:
            subprocess.run([sys.executable, *words], cwd=work, env=environment, check=True)

        photos(work)
        python("-c", START)
        for name in names:
            python("-m", "lens.train", *COMMON, *RUNS[version, name], "--out", name)
        if version == "0.3.0":
            layers = ["--method", "both", "--probe_epochs", "2", "--layer", "layer2", "layer4"]
            python("-m", "lens.probe", "lens", *layers)
        shutil.rmtree(FOLDER / version, ignore_errors=True)
        for name in names:
            keep(work / name, FOLDER / version / name)
        for name in names:
            python("-m", "lens.train", "--resume", name, "--steps", str(FURTHER))
            lines = (work / name / "metrics.jsonl").read_text().splitlines(keepends=True)
            had = (FOLDER / version / name / "metrics.jsonl").read_text().splitlines(keepends=True)
            assert lines[: len(had)] == had
            further(version, name).write_text("".join(lines[len(had) :]))


def keep(run: Path, place: Path) -> None:
    """Copy a run to where it is kept: without its PNGs, packed, and of no machine."""
    shutil.copytree(run, place, ignore=shutil.ignore_patterns("*.png"))
    for file in place.rglob("*.safetensors"):
        packed = lzma.compress(file.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        file.with_name(f"{file.name}.xz").write_bytes(packed)
        file.unlink()
    if (place / "lock").exists():
        (place / "lock").write_text("process 1 on example since 2026-01-01 00:00:00")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]).resolve())
