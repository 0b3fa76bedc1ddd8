"""The images of a training run: loaded with a bar, divided as its task needs them."""

from __future__ import annotations

from lens.images import data, divide, overlap
from lens.images.loading import load_with_a_bar
from lens.protocols.lookup import find
from lens.protocols.source import Listing
from lens.settings.run_settings import Settings


def training_images(settings: Settings) -> data.Images:
    """The images of --data, divided as the task needs them.

    Sources are asked about by the task, or by the fresh classifiers for whom images of several are kept. Raises BadInput
    where sources overlap, or where one that is asked about is too small for it.
    """
    own, answer = settings.data, find("task", settings.question.task).answer
    by_source = answer == "source"
    fraction = own.judge_fraction if own.judge_fraction is not None else 0.5 if by_source else 0.0
    by_source = by_source or (fraction > 0 and len(own.sources) > 1)
    overlap.refuse_overlap(own.sources)

    def check(keys: list[str], listings: list[Listing]) -> None:
        overlap.refuse_overlap(keys, listings)
        if own.group_by is not None:
            divide.refuse_unmatched(own.group_by, keys, listings)

    images = load_with_a_bar(own, check)
    images = divide.divided(
        images,
        by_source=by_source,
        pseudo_sources=own.pseudo_sources,
        judge_fraction=fraction,
        seed=settings.optimisation.seed,
    )
    return divide.labelled_only(images) if answer == "label" else images
