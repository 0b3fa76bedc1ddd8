"""Run directories as tests compare them: every file, the weights, and the one line of a mistake."""

from pathlib import Path

import torch
from safetensors.torch import load_file

LENSED = ["--shortcut", "arrow", "--target_psnr", "20", "--test_images", "8", "--probe_images", "20"]


def one_line(capsys):
    """The one line that a mistake leaves on stderr, after what the run said before."""
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("lens: error: ")]
    assert len(errors) == 1, lines
    assert lines[-1] == errors[0], lines
    return errors[0]


def tree(folder):
    return {file: file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


def same_weights(a, b):
    for name in ("extractor", "head", "lens"):
        first, second = (load_file(folder / f"{name}.safetensors") for folder in (a, b))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), name
