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
from lens.proving.reading import Asked

Array = np.ndarray[Any, Any]
NOTHING: Mapping[str, Judge] = {}


def removal(
    sets: LensedSets,
    judging: Judging,
    further: Mapping[str, Judge] = NOTHING,
    features: FrozenFeatures | None = None,
    probes: Iterable[LensedProbe] = (),
) -> dict[str, Any]:
    """All that removal.json says of sources: can a judge tell them apart, before and after the lens, and at what cost?

    The fresh judges are trained on `train`, which the lens should not have met, and stopped on `val`; the best of them in
    validation answers about `test`. `further` judges look at lensed images, each with its own figure, by its key; the
    strictest of all counts. Without `features`, frozen ones that were trained with the lens, nothing is said of them,
    nor of `probes`.
    """
    asked, make = asked_of(sets), partial(judging.fresh, classes=len(sets.sources))
    found = described(sets, judging) | {"chance": 1 / len(sets.sources)} | quality(sets.splits["test"], judging.seed)
    answers = {}
    for kind in ("raw", "lensed"):
        found[kind], answers[kind] = told_apart(sets, judging, kind)
    reading.conclude(found, asked, answers, judging, make, further)
    return found | costs(sets, judging, features, probes)


def unasked(
    sets: LensedSets, judging: Judging, features: FrozenFeatures | None, probes: Iterable[LensedProbe]
) -> dict[str, Any]:
    """The same where nobody is asked for the source: what the lens changed, and what it cost."""
    found = described(sets, judging) | quality(sets.splits["test"], judging.seed)
    return found | costs(sets, judging, features, probes)


def described(sets: LensedSets, judging: Judging) -> dict[str, Any]:
    """The images of each source by split, and how judges are trained."""
    sources = len(sets.sources)
    found: dict[str, Any] = {"sources": sets.sources}
    found["images"] = {
        split: np.bincount(part.source, minlength=sources).tolist() for split, part in sets.splits.items()
    }
    found["groups"] = {
        split: [len(np.unique(part.group[part.source == k])) for k in range(sources)]
        for split, part in sets.splits.items()
    }
    return found | {"recipe": dataclasses.asdict(judging.recipe) | {"seeds": judging.seeds}}


def costs(
    sets: LensedSets, judging: Judging, features: FrozenFeatures | None, probes: Iterable[LensedProbe]
) -> dict[str, Any]:
    """What the lens costs class labels: read by fresh classifiers, by frozen features, and by these on `probes`."""
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
    return Asked("the source", raw, lensed, len(sets.sources), sets.splits["test"].group)


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
    found: dict[str, Any] = {"psnr": psnr(float(test.error.mean())), "ssim": float(test.ssim.mean())}
    found["psnr_ci"] = resampling.psnr_interval(resampling.bootstrap(test.error, ones, test.group, seed))
    carried = test.error[test.carries]
    found["psnr_planted"] = psnr(float(carried.mean())) if len(carried) else None
    found["psnr_by_source"] = [psnr(mse) for mse in means_by_class(test.error, test.source).tolist()]
    return found
