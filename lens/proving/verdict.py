"""What may be said of a removal, from what judges read before it and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lens.base.intervals import too_few
from lens.results.figure import Estimate
from lens.results.removal import Judged

CLOSE = 0.1
"""Excess over chance that counts as none: nothing is called gone unless the interval ends within it (45 to 55 % of two sources)."""
READABLE = 0.95
"""Balanced accuracy on raw images from which an answer counts as readable: below it a removal has little to prove."""
FRESH = "the best fresh classifier"


def added(found: Judged, changed: bool) -> Judged:
    """What was read, with what may be said of it; `changed`: the lens has changed a pixel."""
    chance = _chance(found)
    before = most_of_raw(found).value
    assert before is not None
    share, judge = left(found)
    return dataclasses.replace(
        found,
        readable=before >= READABLE,
        left=share,
        left_to=judge,
        verdict=of(found, changed),
        close=chance + CLOSE * (1 - chance),
        wide=any(too_wide(chance, ends) for ends in intervals(found)),
    )


def left(found: Judged) -> tuple[Estimate, str]:
    """The share of the excess over chance that the strictest judge still reads on lensed images, its ends, and that judge.

    Above or below chance is the same: who is always wrong has read the source. None where nothing is read on raw images.
    The ends are the least and the most that the two accuracies' intervals allow. The accuracies are of the same images, so
    these reach further than a 95 % interval of the share would. None where the raw one holds chance: then there is no most.
    """
    _, lensed = found.answered
    chance, raw = _chance(found), most_of_raw(found)
    reads = {FRESH: lensed.balanced_accuracy} | {found.judges[key]: one for key, one in lensed.judges.items()}
    judge = max(reads, key=lambda name: _excess(reads[name], chance))
    strictest, before = reads[judge], _excess(raw, chance)
    share = _excess(strictest, chance) / before if before else None
    ends: tuple[Any, Any] = (raw.interval, strictest.interval)
    for interval in ends:
        if too_few(interval):
            return Estimate(share, interval), judge
    (raw_low, raw_high), (low, high) = (_distances(chance, interval) for interval in ends)
    return Estimate(share, [low / raw_high, high / raw_low] if raw_low else None), judge


def of(found: Judged, changed: bool) -> str:
    """What may be said of a removal: the first of these that is true.

    - `unchanged`: no pixel was.
    - `too few groups`: an interval that would decide is none.
    - `nothing to remove`: on raw and on lensed images every interval holds chance, and lies close to it.
    - `undecided`: every interval holds chance, and too much besides.
    - `risen`: a significant rise from raw to lensed images: more can be read than before.
    - `not removed`: no significant fall.
    - `removed`: every interval on lensed images holds chance, and lies close to it.
    - `reduced`: half of what could be read is gone.
    - `not halved`: it is not, or that is not shown.

    The intervals are, on raw images, that of the best in validation of who begins with nothing (`most_of_raw`), and on lensed
    ones those of the best fresh classifier and of every further judge (`judges`: the extractor, trained on, where the task is
    about sources). One that ends below chance does not hold it: who is always wrong has read the source. Close is within
    `CLOSE` of the excess on either side: a wide interval is never taken for chance (equivalence is shown, not assumed:
    Schuirmann 1987). Nor is a half: the far end of the widest interval on lensed images must be at most half as far from chance
    as the near end of that on raw ones. The point estimate is then below a half as well.
    """
    if not changed:
        return "unchanged"
    every, chance = intervals(found), _chance(found)
    assert found.fall is not None
    fell: Any = found.fall.interval
    if any(map(too_few, (*every, fell))):
        return "too few groups"
    raw, *lensed = every
    gone = all(_holds(chance, ends) for ends in lensed)
    if gone and _holds(chance, raw):
        return "undecided" if any(too_wide(chance, ends) for ends in every) else "nothing to remove"
    if fell[0] <= 0:
        return "risen" if fell[1] < 0 else "not removed"
    if gone and not any(too_wide(chance, ends) for ends in lensed):
        return "removed"
    most = max(_distances(chance, ends)[1] for ends in lensed)
    return "reduced" if most <= _distances(chance, raw)[0] / 2 else "not halved"


def intervals(found: Judged) -> list[Any]:
    """Of who reads most of raw images, of the best fresh classifier on lensed ones, and of each further judge there."""
    _, lensed = found.answered
    return [one.interval for one in (most_of_raw(found), lensed.balanced_accuracy, *lensed.judges.values())]


def most_of_raw(found: Judged) -> Estimate:
    """What could be read: by the best fresh classifier or a further judge of raw images, whichever is best in validation.

    One interval, not one for each judge: so where there is nothing to remove it leaves chance no oftener than that of one judge.
    """
    raw, _ = found.answered
    return raw.judges[key] if (key := strictest(raw.balanced_accuracy, raw.judges)) else raw.balanced_accuracy


def strictest(fresh: Estimate, others: Mapping[str, Estimate]) -> str | None:
    """The key of which of the `others` is better in validation than the best `fresh` classifier and the rest; None where none is."""
    most = max(others, key=lambda key: others[key].validation or 0, default=None)
    return most if most and (others[most].validation or 0) > (fresh.validation or 0) else None


def too_wide(chance: float, interval: Any) -> bool:
    """Whether an interval of accuracy that holds chance goes so far beside it that chance is not shown."""
    if too_few(interval) or not _holds(chance, interval):
        return False
    return bool(max(abs(end - chance) for end in interval) > CLOSE * (1 - chance))


def below(interval: Any, chance: float) -> bool:
    """Whether an interval ends below chance: who answers so has read the answer, and says another."""
    return not too_few(interval) and bool(interval[1] < chance)


def _chance(found: Judged) -> float:
    assert found.chance is not None
    return found.chance


def _excess(one: Estimate, chance: float) -> float:
    """How far from chance an accuracy is, on either side."""
    assert one.value is not None
    return abs(one.value - chance)


def _holds(chance: float, interval: Any) -> bool:
    """Whether an interval holds chance."""
    return bool(interval[0] <= chance <= interval[1])


def _distances(chance: float, interval: Any) -> tuple[float, float]:
    """How near to chance and how far from it an interval reaches, on either side."""
    ends = [abs(end - chance) for end in interval]
    return 0.0 if _holds(chance, interval) else min(ends), max(ends)
