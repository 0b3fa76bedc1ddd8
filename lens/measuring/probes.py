"""The labelled sources that probes are fitted on, and which of their images."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lens.base.characters import printable
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images import classes, data
from lens.images.data import sample_of
from lens.images.loading import load_with_a_bar
from lens.images.read_as import levels_of, unlike
from lens.images.splits import SPLITS
from lens.images.unseen import without_learnt
from lens.settings.groups.data import DataSettings

Array = np.ndarray[Any, Any]


def probe_splits(
    images: data.Images, source: int, key: str, limit: int | None, test_limit: int | None, seed: int, tell: bool = True
) -> dict[str, Array]:
    """The indices of a source's labelled images, cut at random: train to `limit` images, val and test to `test_limit` each.

    Images of val and test whose class those of train lack are left out, and counted in a line. Raises BadInput where a
    probe has nothing to learn: no labels, one class, a split without a labelled image, or with none of a known class.
    """
    if not images.classes[source]:
        raise BadInput(f"a probe needs labels and {key} has none: give another --probe")
    every = {split: images.indices(split, source) for split in SPLITS}
    label = classes.of_source(images, source)
    splits = {split: index[label[index] >= 0] for split, index in every.items()}
    for split, index in splits.items():
        present = len(np.unique(label[index]))
        if len(index) == 0 or (split == "train" and present < 2):
            none = "no labelled images" if len(every[split]) else "no images"
            what = none if len(index) == 0 else "one class"
            raise BadInput(f"a probe needs two classes and {key} has {what} in its {split} split: give another --probe")
    splits["train"] = sample_of(splits["train"], limit, seed, "probe")
    if len(np.unique(label[splits["train"]])) < 2:
        raise BadInput(
            f"a probe needs two classes, and what --probe_images {limit} takes of {key} is of one: give more of them"
        )
    known, lines = classes.known({split: label[index] for split, index in splits.items()}, images.classes[source])
    for split in ("val", "test"):
        if not known[split].any():
            raise BadInput(
                f"a probe needs {split} images of classes that its training images have, and all {len(splits[split]):,} of {key} "
                "are of others: name the class folders of all splits alike"
            )
        splits[split] = sample_of(splits[split][known[split]], test_limit, seed, f"probe {split}")
    for line in lines if tell else []:
        say(f"probe on {printable(key)}: {line}")
    return splits


@dataclasses.dataclass(frozen=True)
class Probe:
    """A labelled source that a probe is fitted on: the images it lies in, and which source of them it is."""

    key: str
    images: data.Images
    source: int


def load_probes(
    settings: DataSettings,
    keys: list[str],
    images: data.Images,
    image_column: str | None = None,
    label_column: str | None = None,
    drawn: tuple[int | None, int] = (None, 0),
) -> list[Probe]:
    """The sources that `keys` name (--probe), else the training sources that a probe can be fitted on.

    They are read as those of training are, but for the columns of a table. Loaded before training, so that a source that cannot be read is refused in the first minute and not in the last. Held-out
    images of a source that the run learns from (`unseen`) are left out. `drawn` is how many training images a probe is fitted
    on, and the seed of which: what holds one class alone is refused now, too.
    """
    limit, seed = drawn
    images = images.whole()  # a probe is about the source that was named, not about its pseudo-sources
    if not keys:
        probes = []
        for number, key in enumerate(images.keys):
            if not images.classes[number]:
                continue
            try:
                probe_splits(images, number, key, limit, None, seed, tell=False)
            except BadInput as error:
                say(f"no probe on {key}: {error}")
            else:
                probes.append(Probe(key, images, number))
        return probes
    own = dataclasses.replace(settings, pseudo_sources=None, image_column=image_column, label_column=label_column)
    probes = []
    for key in keys:
        asked = image_column or label_column
        known = images.keys.index(key) if key in images.keys and not asked else None
        where = images if known is not None else load_with_a_bar(dataclasses.replace(own, data=[key]))
        probe_splits(where, known or 0, key, None, None, 0)
        if known is None:
            where = without_learnt(where, images, "this run")
            for line in (
                *where.reading(),
                *unlike({"the training images": levels_of(images.read_as), key: levels_of(where.read_as)}),
            ):
                say(printable(line))
        probes.append(Probe(key, where, known or 0))
        probe_splits(where, known or 0, key, limit, None, seed, tell=False)
    return probes
