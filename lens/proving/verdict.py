"""What may be said of a removal, from what judges read before it and after it."""

from __future__ import annotations

from typing import Any

from lens.base.intervals import Interval, too_few

CLOSE = 0.1
"""Excess over chance that counts as none: nothing is called gone unless the interval ends within it (45 to 55 % of two sources)."""
FRESH = "the best fresh classifier"


def left(found: dict[str, Any]) -> tuple[float | None, Interval | None, str]:
    """The share of the excess over chance that the strictest judge still reads on lensed images, its ends, and that judge.

    Above or below chance is the same: who is always wrong has read the source. None where nothing is read on raw images.
    The ends are the least and the most that the two accuracies' intervals allow. The accuracies are of the same images, so
    these reach further than a 95 % interval of the share would. None where the raw one holds chance: then there is no most.
    """
    lensed, chance = found["lensed"], found["chance"]
    reads = {FRESH: (abs(lensed["balanced_accuracy"] - chance), lensed["ci"])}
    for key, name in found["judges"].items():
        reads[name] = (abs(lensed[key] - chance), lensed[f"{key}_ci"])
    judge = max(reads, key=lambda name: reads[name][0])
    read, ends = reads[judge]
    raw, raw_ends = abs(found["raw"]["balanced_accuracy"] - chance), found["raw"]["ci"]
    share = read / raw if raw else None
    for interval in (raw_ends, ends):
        if too_few(interval):
            return share, interval, judge
    (low, high), (raw_low, raw_high) = _distances(found, ends), _distances(found, raw_ends)
    return share, [low / raw_high, high / raw_low] if raw_low else None, judge


def of(found: dict[str, Any]) -> str:
    """What may be said of a removal: the first of these that is true.

    - `unchanged`: no pixel was.
    - `too few groups`: an interval that would decide is none.
    - `nothing to remove`: on raw and on lensed images every interval holds chance, and lies close to it.
    - `undecided`: every interval holds chance, and too much besides.
    - `not removed`: no significant fall from raw to lensed images.
    - `removed`: every interval on lensed images holds chance, and lies close to it.
    - `reduced`: half of what could be read is gone.
    - `not halved`: it is not, or that is not shown.

    The intervals are those of the best fresh classifier and, on lensed images, of every further judge (`judges`: the
    extractor, trained on, where the task is about sources). One that ends below chance does not hold it: who is always wrong has read the
    source. Close is within `CLOSE` of the excess on either side: a wide interval is never taken for chance (equivalence is
    shown, not assumed: Schuirmann 1987). Nor is a half: the far end of the widest interval on lensed images must be at most
    half as far from chance as the near end of that on raw ones. The point estimate is then below a half as well.
    """
    if found["psnr"] is None:
        return "unchanged"
    every = intervals(found)
    if any(map(too_few, (*every, found["fall_ci"]))):
        return "too few groups"
    raw, *lensed = every
    gone = all(_holds(found, ends) for ends in lensed)
    if gone and _holds(found, raw):
        return "undecided" if any(too_wide(found, ends) for ends in every) else "nothing to remove"
    if found["fall_ci"][0] <= 0:
        return "not removed"
    if gone and not any(too_wide(found, ends) for ends in lensed):
        return "removed"
    most = max(_distances(found, ends)[1] for ends in lensed)
    return "reduced" if most <= _distances(found, raw)[0] / 2 else "not halved"


def intervals(found: dict[str, Any]) -> list[Any]:
    """Of the best fresh classifier on raw and on lensed images, and of each further judge on lensed ones."""
    lensed = found["lensed"]
    return [found["raw"]["ci"], lensed["ci"], *(lensed[f"{key}_ci"] for key in found["judges"])]


def close(chance: float) -> float:
    return chance + CLOSE * (1 - chance)


def _holds(found: dict[str, Any], interval: list[float]) -> bool:
    """Whether an interval holds chance."""
    return bool(interval[0] <= found["chance"] <= interval[1])


def _distances(found: dict[str, Any], interval: list[float]) -> tuple[float, float]:
    """How near to chance and how far from it an interval reaches, on either side."""
    ends = [abs(end - found["chance"]) for end in interval]
    return 0.0 if _holds(found, interval) else min(ends), max(ends)


def too_wide(found: dict[str, Any], interval: Interval) -> bool:
    """Whether an interval of accuracy that holds chance goes so far beside it that chance is not shown."""
    if not isinstance(interval, list) or not _holds(found, interval):
        return False
    return bool(max(abs(end - found["chance"]) for end in interval) > CLOSE * (1 - found["chance"]))
