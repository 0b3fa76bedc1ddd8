"""Images before and after a lens that no lens has made: noise in two sources, told apart by a corner."""

import numpy as np

from lens.proving.lensed_set import LensedSet, LensedSets

CORNER = np.s_[:, :4, :4]


def lensed_set(count, seed, erased, level=60):
    """Noise of 16 px whose second source has a lighter corner, and the same with that corner `erased`, or as it was."""
    rng = np.random.default_rng(seed)
    source = np.arange(count) % 2
    raw = rng.integers(60, 150, (count, 16, 16, 3))
    raw[CORNER] += (level * source)[:, None, None, None]
    lensed = raw.copy()
    if erased:
        lensed[CORNER] = 128
    error = np.square((raw - lensed) / 255).mean(axis=(1, 2, 3))
    alike = np.ones(count)
    return LensedSet(
        raw.astype(np.uint8), lensed.astype(np.uint8), source, np.full(count, -1), np.arange(count), error, alike, alike > 1
    )  # fmt: skip


def lensed_sets(tmp_path, erased, level=60):
    sizes = {"train": 200, "val": 120, "test": 400}
    splits = {name: lensed_set(count, seed, erased, level) for seed, (name, count) in enumerate(sizes.items())}
    return LensedSets(splits, ["./before", "./after"], [], tmp_path)
