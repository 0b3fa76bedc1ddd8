"""The images that `benchmarks/gpu.sh` takes along: some of a labelled data set as one file of uint8 squares, and back.

    python -m benchmarks.gpu_pack SOURCE FOLDER        # SOURCE as for lens.train --data; writes FOLDER/images.npz

The file holds `train` and `test` (n, H, W, 3) uint8, `train_label` and `test_label` (n,) and the class names, as many
images of each class as there are of any other. It needs no reader of tables where it is unpacked, into class folders of PNG.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import PIL.Image

from lens.base import files
from lens.base.bar import Bar
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images import opening

NAME = "images.npz"
COUNTS = {"train": 6400, "test": 1600}
LIMIT = 50 * files.MEBIBYTE
"""Bytes of a pack's images, unpacked, at most."""


def pack(key: str, folder: Path, counts: dict[str, int]) -> Path:
    """Write the first images of each class of both splits; the same number of each class.

    Raises BadInput where the source has no labels, too few images of a class, or images of several sizes.
    """
    source = opening.open_source(key)
    listing = source.listing()
    if not listing.classes:
        raise BadInput(f"{key} has no labels: give a source with classes")
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {"classes": np.array(listing.classes)}
    each = {split: count // len(listing.classes) for split, count in counts.items()}
    with Bar("packing", sum(each.values()) * len(listing.classes), "images") as bar:
        done = 0
        for split, wanted in each.items():
            chosen: list[int] = []
            for label, name in enumerate(listing.classes):
                rows = [i for i, record in enumerate(listing.records) if (record.label, record.split) == (label, split)]
                if len(rows) < wanted:
                    raise BadInput(
                        f"{key} has {len(rows)} images of {name!r} in its {split} split, and {wanted} are asked for"
                    )
                chosen += rows[:wanted]
            squares = []
            for row in chosen:
                with source.read(row) as image:
                    squares.append(np.asarray(image.convert("RGB"), np.uint8))
                done += 1
                bar.advance(done)
            if len({square.shape for square in squares}) > 1:
                raise BadInput(f"{key} has images of several sizes: give one whose images are alike, as CIFAR-10's")
            arrays[split] = np.stack(squares)
            arrays[f"{split}_label"] = np.array([listing.records[row].label for row in chosen])
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(folder / NAME, content.getvalue())
    say(f"{', '.join(f'{len(arrays[split]):,} {split}' for split in counts)} images of {key} in {folder / NAME}")
    return folder / NAME


def unpack(file: Path, into: Path) -> None:
    """Write a pack's images as SPLIT/CLASS/NUMBER.png below a new folder. Raises BadInput where the file is damaged."""
    with files.reading(file, "fill the pack again: benchmarks/gpu_pack.sh"):
        arrays = files.read_arrays(file, LIMIT)
        for split in COUNTS:
            _write(into / split, arrays[split], arrays[f"{split}_label"], [str(name) for name in arrays["classes"]])


def synthetic(into: Path, each: int = 60, classes: int = 2, size: int = 32) -> None:
    """Images of our own making in the same folders, for a trial: brighter at the top, a colour for each class, and grain."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(classes), each)
    for split in COUNTS:
        pixels = np.empty((len(label), size, size, 3))
        pixels[:] = np.linspace(220, 30, size)[:, None, None]
        pixels[np.arange(len(label)), :, :, 2 * (label % 2)] += 40
        pixels += rng.normal(0, 15, pixels.shape)
        _write(into / split, pixels.clip(0, 255).astype(np.uint8), label, [f"class{k}" for k in range(classes)])


def _write(folder: Path, pixels: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:  # type: ignore[type-arg]
    for name in classes:
        (folder / name).mkdir(parents=True)
    for number, (square, label) in enumerate(zip(pixels, labels, strict=True)):
        PIL.Image.fromarray(square).save(folder / classes[label] / f"{number:05d}.png", compress_level=1)


def main(argv: list[str] | None = None) -> int:
    """Pack, and say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="labelled images with a train and a test split, all of one size")
    parser.add_argument("folder", type=Path)
    for split, count in COUNTS.items():
        parser.add_argument(f"--{split}", type=int, default=count, help="images of this split")
    asked = parser.parse_args(argv)

    def run() -> int:
        pack(asked.source, asked.folder, {split: getattr(asked, split) for split in COUNTS})
        return 0

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
