"""What judges read from raw and from lensed images, and what the lens cost: of sets of images, whoever made them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.measuring import resampling
from lens.measuring.judge import Judge
from lens.measuring.judges import Judging
from lens.measuring.proportions import means_by_class
from lens.operations.quality import psnr
from lens.protocols.lookup import short_names
from lens.proving import cost, reading
from lens.proving.cost import FrozenFeatures
from lens.proving.lensed_set import LensedProbe, LensedSet, LensedSets
from lens.proving.reading import NOTHING, Asked
from lens.results.figure import Estimate
from lens.results.removal import Removal

Array = np.ndarray[Any, Any]


def removal(
    sets: LensedSets,
    judging: Judging,
    further: Mapping[str, Judge] = NOTHING,
    features: FrozenFeatures | None = None,
    probes: Iterable[LensedProbe] = (),
    both: Mapping[str, Judge] = NOTHING,
) -> Removal:
    """All that is proved of sources: can a judge tell them apart, before and after the lens, and at what cost?

    The fresh judges are trained on `train`, which the lens should not have met, and stopped on `val`; the best of them in
    validation answers about `test`. Judges of `both` learn from raw and from lensed images as well, `further` ones from lensed
    images, each with its own figure, by its key; the strictest of all counts. Without `features`, frozen ones that were trained
    with the lens, nothing is said of them, nor of `probes`.
    """
    asked, make = asked_of(sets), partial(judging.fresh, classes=len(sets.sources))
    read, right = {}, {}
    for kind in ("raw", "lensed"):
        read[kind], right[kind] = told_apart(sets, judging, kind)
    judged = reading.concluded(read, right, asked, judging, make, further, both)
    own = {field.name: getattr(judged, field.name) for field in dataclasses.fields(judged)}
    return Removal(**own | described(sets, judging) | costs(sets, judging, features, probes))


def unasked(
    sets: LensedSets, judging: Judging, features: FrozenFeatures | None, probes: Iterable[LensedProbe], why: str
) -> Removal:
    """The same where nobody is asked for the source, and why: what the lens changed, and what it cost."""
    return Removal(source={"none": why}, **described(sets, judging) | costs(sets, judging, features, probes))


def described(sets: LensedSets, judging: Judging) -> dict[str, Any]:
    """The images of each source by split, how judges are trained, and what the lens changed, as fields of a proof."""
    sources = len(sets.sources)
    images = {split: np.bincount(part.source, minlength=sources).tolist() for split, part in sets.splits.items()}
    groups = {
        split: [len(np.unique(part.group[part.source == k])) for k in range(sources)]
        for split, part in sets.splits.items()
    }
    recipe = dataclasses.asdict(judging.recipe) | {"seeds": judging.seeds}
    found = {"sources": sets.sources, "images": images, "groups": groups, "recipe": recipe}
    return found | quality(sets.splits["test"], judging.seed)


def costs(
    sets: LensedSets, judging: Judging, features: FrozenFeatures | None, probes: Iterable[LensedProbe]
) -> dict[str, Any]:
    """What the lens costs class labels: read by fresh classifiers, by frozen features, and by these on `probes`; fields of a proof."""
    known = cost.labelled(sets)
    found: dict[str, Any] = {"downstream": cost.by_fresh_classifiers(known, judging) if known else None}
    found["frozen"] = cost.by_frozen_features(known, features, judging) if known and features else None
    on_probes = {one.key: cost.on_probe(one, features, judging) for one in probes} if features else {}
    return found | {"probes": dict(zip(short_names(list(on_probes)), on_probes.values(), strict=True))}


def check(sources: list[str], images: Mapping[str, list[int]], judging: Judging) -> None:
    """Raise BadInput where a source has no `images`, counted by split, or a judge cannot be built."""
    for number, key in enumerate(sources):
        if empty := [split for split, counts in images.items() if not counts[number]]:
            raise BadInput(
                f"--prove needs images of every source in every split, and {key} has none in its {empty[0]} split: give more"
            )
    judging.check()


def asked_of(sets: LensedSets) -> Asked:
    """The question after the source."""
    raw, lensed = (sets.pictures(kind, "source") for kind in ("raw", "lensed"))
    test = sets.splits["test"]
    return Asked("the source", raw, lensed, len(sets.sources), test.group, psnr(float(test.error.mean())))


def told_apart(sets: LensedSets, judging: Judging, kind: str) -> tuple[dict[str, Any], Array]:
    """How well fresh judges tell the sources apart on one kind of images, as `reading.fresh`."""
    found, right = reading.fresh(asked_of(sets), kind, judging, partial(judging.fresh, classes=len(sets.sources)))
    found["by_source"] = found.pop("by_class")
    return found, right


def quality(test: LensedSet, seed: int) -> dict[str, Any]:
    """PSNR in dB from the pooled mean squared error, over all test images and over those with a planted cue, and SSIM.

    None where nothing changed (it would be infinite); `psnr_planted` also where nothing is planted.
    """
    ones = np.ones(len(test.error))
    interval = resampling.psnr_interval(resampling.bootstrap(test.error, ones, test.group, seed))
    carried = test.error[test.carries]
    return {
        "psnr": Estimate(psnr(float(test.error.mean())), interval),
        "ssim": float(test.ssim.mean()),
        "psnr_planted": psnr(float(carried.mean())) if len(carried) else None,
        "psnr_by_source": [psnr(mse) for mse in means_by_class(test.error, test.source).tolist()],
    }
