"""The ladder of cues: one row each, from what says nothing of content to the whole image."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from lens.auditing import combs, levels, telling
from lens.auditing.answers import Answers, of_trees
from lens.auditing.keeping import Finished
from lens.auditing.permutation import holm, permutation_p
from lens.auditing.scores import scores
from lens.auditing.seen import Seen
from lens.base.bar import Bar
from lens.base.draws import step_seed
from lens.protocols.lookup import short_names
from lens.results.audit import Row

LEVEL = 0.05
"""The chance, of all rows together, that one of them is called significant and is not."""
COMBS = "quantisation"
"""The cue that reads what the combs tell in words."""
ENDS = ("clipping", "mean_colour")
"""Those that read where the channels' levels end."""


def by_trees(seen: Seen, seed: int, finished: Finished) -> list[Answers]:
    """Every cue's answers by boosted trees on its descriptors, in the ladder's order, with a live bar; not those that are finished."""
    found = []
    with Bar("boosted trees", len(seen.columns), "cues") as bar:
        for name in seen.columns:
            if finished.has(name):
                found.append(finished.read(name)[0])
            else:
                found.append(of_trees(seen, name, seed))
                finished.keep(found[-1])
            bar.add()
    return found


def rows_of(seen: Seen, answers: Sequence[Answers], seed: int) -> list[Row]:
    """The rows of answers about the test images: scores, p by permutation, Holm's correction over all of them."""
    test = seen.rows("test")
    source, group = seen.images.source[test], seen.images.group[test]
    told = [one.odds.argmax(axis=1) for one in answers]
    p = permutation_p(told, source, group, step_seed(seed, 0, "permutations"))
    corrected = holm(p)
    return [_row(seen, one, own, adjusted) for one, own, adjusted in zip(answers, p, corrected, strict=True)]


def _row(seen: Seen, one: Answers, p: float, corrected: float) -> Row:
    cue = seen.cues[one.name]
    test = seen.rows("test")
    found = scores(one.odds, seen.images.source[test], seen.images.group[test])
    chance = 1 / len(seen.images.keys)
    assert found.accuracy.value is not None
    significant = corrected <= LEVEL
    says = []
    if significant and one.judge == "trees":
        says = telling.words(seen.columns[one.name], seen.images)
        names = short_names(seen.images.keys)
        if one.name == COMBS:
            says = [*combs.words(seen.combs, names), *says]
        if one.name in ENDS:
            says = [*levels.words(seen.levels, names), *says]
    return Row(
        name=one.name, kind=cue.kind, judge=one.judge, about=(inspect.getmodule(type(cue)).__doc__ or "").split("\n")[0], points_to=cue.points_to,
        acquisition=cue.acquisition, balanced_accuracy=found.accuracy, auc=found.auc,
        excess=(found.accuracy.value - chance) / (1 - chance), null=one.null, p=p, p_holm=corrected, significant=significant,
        confusion=found.confusion, says=says, extremes=[], seconds=round(one.seconds, 2),
    )  # fmt: skip
