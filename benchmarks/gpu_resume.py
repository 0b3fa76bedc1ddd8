"""Does a run that is taken up from its middle end with the bits of one that was never stopped?"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.gpu import Asked
from lens import train
from lens.base import files

PLAYERS = [
    "--extractor=resnetv2_50", "--lens=unet", "--lens.encoder=resnet18", "--lens.depth=5", "--image_size=64", "--cache_image_size=72",
    "--batch_size=16", "--val_images=16", "--test_images=16", "--probe_images=64", "--probe_test_images=32",
]  # fmt: skip
# Not a ResNet: of maps of one pixel oneDNN (torch 2.14.1, a processor with instructions for bf16) takes the gradient of a strided
# convolution from memory that nobody wrote.
TINY = [
    "--extractor=all_conv", "--lens=full_res", "--lens.depth=3", "--image_size=16", "--cache_image_size=18",
    "--batch_size=4", "--val_images=4", "--test_images=4", "--probe_images=12", "--probe_test_images=8", "--threads=1",
]  # fmt: skip


def check(asked: Asked, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """In each precision: a whole run, and its copy without the second half, taken up by another process."""
    steps = 2 if asked.dry else 8
    result: dict[str, Any] = {"steps": steps, "precisions": {}, "failed": []}
    for precision in ("bf16",) if asked.dry else ("bf16", "32"):
        folder = asked.work / f"resume-{precision}"
        folder.mkdir()
        words = ["--task=rotation", "--shortcut=arrow", "--log_every=1", *(TINY if asked.dry else PLAYERS)]
        words += [f"--precision={precision}", f"--device={asked.device}", f"--data={asked.images}"]
        words += [f"--steps={steps}", f"--val_every={steps}", f"--checkpoint_every={steps // 2}"]
        part = compare(words, folder, asked.start_method, deterministic=False)
        result["precisions"][precision] = part
        if not part["same"]:
            result["failed"].append(f"{precision}: a resumed run ends with other weights")
            keep(result)
            # Whose fault is it: that of the kernels, which then differ between two whole runs too?
            part["whole_runs"] = repeated(words, folder, asked.start_method)
            keep(result)
            part["deterministic"] = compare(words, folder / "deterministic", asked.start_method, deterministic=True)
        keep(result)
    return result


def compare(words: list[str], folder: Path, start_method: str, deterministic: bool) -> dict[str, Any]:
    """Train in one process, resume from the half in another: are weights and moments the same, how far are they apart?"""
    folder.mkdir(exist_ok=True)
    whole, half = folder / "whole", folder / "half"
    in_a_process([*words, f"--out={whole}"], start_method, deterministic)
    shutil.copytree(whole, half)
    (half / "summary.json").unlink()
    shutil.rmtree(checkpoints(half)[-1])
    in_a_process([f"--resume={half}"], start_method, deterministic)
    return difference(whole, half)


def repeated(words: list[str], folder: Path, start_method: str) -> dict[str, Any]:
    """The same of a second whole run and the first one in `folder`."""
    in_a_process([*words, f"--out={folder / 'again'}"], start_method, deterministic=False)
    return difference(folder / "whole", folder / "again")


def in_a_process(words: list[str], start_method: str, deterministic: bool) -> None:
    """`lens.train` in a process of its own. Raises RuntimeError where that fails."""
    process = multiprocessing.get_context(start_method).Process(target=_train, args=(words, deterministic))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"lens.train {' '.join(words)} ended with {process.exitcode}")


def _train(words: list[str], deterministic: bool) -> None:
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True, warn_only=True)
    raise SystemExit(train.main(words))


def difference(one: Path, other: Path) -> dict[str, Any]:
    """Of two finished runs: are the last checkpoints (weights, moments, λ) the same bits, and if not, where do they part?"""
    saved = [checkpoints(run)[-1] / "players.safetensors" for run in (one, other)]
    contents = [file.read_bytes() for file in saved]
    found: dict[str, Any] = {"same": contents[0] == contents[1], "checksums": [files.checksum(x) for x in contents]}
    if not found["same"]:
        a, b = (load_file(file) for file in saved)
        unlike = [name for name in a if not torch.equal(a[name], b[name])]
        found["tensors"], found["unlike"] = len(a), len(unlike)
        found["largest"] = max((float((a[n].double() - b[n].double()).abs().max()) for n in unlike), default=0.0)
    return found


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, the last one last."""
    return sorted((run / "checkpoint").iterdir())
