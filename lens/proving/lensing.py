"""A run's images, and those of a probe, through its lens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lens.base.bar import Bar
from lens.images import classes
from lens.images.augment import centre
from lens.images.cache import cache_dir_of
from lens.measuring.probes import Probe, probe_splits
from lens.operations import quality
from lens.players.players import Players
from lens.proving.lensed_set import LensedProbe, LensedSet, LensedSets, rows_of, stored

Array = np.ndarray[Any, Any]


def lens_splits(players: Players) -> LensedSets:
    """What a run's proof is about: judges are trained on `fresh` images, for the lens was trained on those of `train`."""
    labels, names = classes.pooled(players.images)
    splits = splits_of(players)
    total = sum(len(index) for index in splits.values())
    with Bar("lensing", total, "images") as bar:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.advance(done)

        sets = {split: lens_images(players, index, labels, advance) for split, index in splits.items()}
    return LensedSets(sets, list(players.images.keys), names, cache_dir_of(players.settings.data))


def splits_of(players: Players) -> dict[str, Array]:
    """The images that judges learn from, are stopped on and answer about: those of `fresh` stand for `train`."""
    limit = players.settings.proof.judge_images
    names = (("train", "fresh"), ("val", "val"), ("test", "test"))
    return {new: players.of_each_source(old, limit) for new, old in names}


@torch.no_grad()
def lens_images(players: Players, index: Array, labels: Array, advance: Callable[[int], None]) -> LensedSet:
    """Lens the images at `index` as they would be applied: held-out draws, the whole image, rounded to 8 bits.

    Each image is read once, and planted once.
    """
    assert players.lens is not None
    players.lens.eval()
    images = players.images
    parts: dict[str, list[Array]] = {"error": [], "ssim": [], "carries": []}

    def batches() -> Iterator[dict[str, Array]]:
        for batch in players.batches(index, 256):
            views, question, carries = players.views(batch, training=False)
            raw = quality.to_8_bits(views)
            lensed = quality.to_8_bits(players.lensed(raw, question, players.draws(batch)))
            parts["error"].append((lensed - raw).square().mean(dim=(1, 2, 3)).double().cpu().numpy())
            parts["ssim"].append(quality.ssim(raw.contiguous(), lensed.contiguous()).double().cpu().numpy())
            parts["carries"].append(carries.cpu().numpy())
            advance(len(views))
            yield {"raw": rows_of(raw), "lensed": rows_of(lensed)}

    pictures = stored(batches(), len(index), players.settings.data.image_size, cache_dir_of(players.settings.data))
    found = {name: np.concatenate(values) for name, values in parts.items()}
    return LensedSet(**pictures, source=images.source[index], label=labels[index], group=images.group[index], **found)


@torch.no_grad()
def lens_probe(players: Players, probe: Probe) -> LensedProbe:
    """Lens a probe's images, each read once."""
    assert players.lens is not None
    players.lens.eval()
    settings, images = players.settings, probe.images
    limits = (settings.measuring.probe_images, settings.measuring.probe_test_images)
    splits = probe_splits(images, probe.source, probe.key, *limits, settings.optimisation.seed)
    raw: dict[str, Array] = {}
    lensed: dict[str, Array] = {}
    change = []

    def batches(index: Array) -> Iterator[dict[str, Array]]:
        for batch in players.batches(index, 256, images):
            before = centre(batch.images, settings.data.image_size).to(next(players.extractor.parameters()).dtype)
            after = quality.to_8_bits(players.lensed(before, {}, players.draws(batch)))
            change.append((after - before).square().mean(dim=(1, 2, 3)).cpu().numpy())
            yield {"raw": rows_of(before), "lensed": rows_of(after)}

    for split, index in splits.items():
        found = stored(batches(index), len(index), settings.data.image_size, cache_dir_of(settings.data))
        raw[split], lensed[split] = found["raw"], found["lensed"]
    label = classes.of_source(images, probe.source)
    labels = {split: label[index] for split, index in splits.items()}
    mse = float(np.concatenate(change).mean())
    return LensedProbe(probe.key, raw, lensed, labels, images.group[splits["test"]], mse)
