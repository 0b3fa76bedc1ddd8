"""A run's own question, asked of judges: is it harder after the lens, or was one network fooled?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lens.base.bar import Bar
from lens.base.terminal import say
from lens.images import classes
from lens.images.cache import cache_dir_of
from lens.measuring import posed
from lens.measuring.forensic import Forensic
from lens.measuring.judge import Judge, Pictures
from lens.measuring.judges import Judging, Network
from lens.measuring.posed import Posed
from lens.operations import quality
from lens.players.extractor import Extractor
from lens.players.players import Players
from lens.protocols.lookup import key_name
from lens.proving import reading
from lens.proving.lensed_set import rows_of, stored
from lens.proving.lensing import splits_of
from lens.proving.reading import Asked
from lens.results.removal import TRAINED_ON, Answered

Array = np.ndarray[Any, Any]
VIEWS = 256
"""Views that are lensed at a time."""


def why_none(players: Players) -> str | None:
    """Why no judge is asked a run's own question, or None where one is."""
    task, name = players.task, key_name(players.settings.question.task)
    if task.answer == "source":
        return "it is the source"
    if task.classes is None:
        return f"{name} has no classes that a judge could answer with: its measure is a loss or a choice of two"
    if task.couples:
        return f"the answers to {name} depend on each other within a batch"
    return None


def check(players: Players, judging: Judging) -> None:
    """Raise BadInput for a judge that cannot be asked."""
    for name in judging.architectures:
        _fresh(players, judging, name).make()


def of_run(players: Players, judging: Judging, own: Callable[[], Extractor]) -> Answered:
    """What judges read of a run's own question, as `reading.compared`, or why there is `none`.

    Judges are given views as the lens is, each posed once, raw and lensed, and learn from them as the task shows them to an
    extractor. Beside fresh ones stand the run's `own` extractor, trained on, and forensic trees where a picture is asked one thing.
    """
    if why := why_none(players):
        return Answered(none=why)
    splits, name = splits_of(players), key_name(players.settings.question.task)
    if players.answers is not None:
        splits = _answerable(players, splits)
        if why := one_class(players.answers.cpu().numpy()[splits["test"]]):
            return Answered(none=why)
    with Bar(f"posing {name}", sum(map(len, splits.values())), "images") as bar:
        raw, lensed, change = {}, {}, 0.0
        for split, index in splits.items():
            raw[split], lensed[split], change = _posed(players, index, bar)  # at last of test
    answer = raw["test"].answer
    each = answer.size // len(splits["test"])
    group = players.images.group[splits["test"]].repeat(each)
    assert players.task.classes is not None
    asked = Asked(name, raw, lensed, players.task.classes, group, quality.psnr(change), paired=each > 1)
    further: dict[str, Judge] = {"trained_on": judging.network(TRAINED_ON, lambda: Posed(players.task, own()))}
    alone = answer.ndim == 1 and not raw["test"].question  # each picture has one answer and holds all that is asked
    both = {"forensic": Forensic(players.fabric.device)} if alone else {}
    found, _ = reading.compared(asked, judging, lambda spec: _fresh(players, judging, spec), further, both)
    return found


def _answerable(players: Players, splits: dict[str, Array]) -> dict[str, Array]:
    """The splits without images of classes that the lens's training lacks, or the judges'; a line says of how many."""
    assert players.answers is not None
    answers, (label, kinds) = players.answers.cpu().numpy(), classes.pooled(players.images)
    splits = {split: index[answers[index] >= 0] for split, index in splits.items()}
    names = [kinds[label[int(np.argmax(answers == k))]] for k in range(answers.max() + 1)]
    kept, lines = classes.known({split: answers[index] for split, index in splits.items()}, names)
    for line in lines:
        say(f"the run's own question: {line}")
    return {split: index[kept[split]] for split, index in splits.items()}


def one_class(answers: Array) -> str | None:
    """Why nobody is asked about test images with these answers, or None where they have several."""
    return (
        "the test images that judges could be asked about are all of one class" if len(np.unique(answers)) < 2 else None
    )


def _fresh(players: Players, judging: Judging, spec: str) -> Network:
    """A judge that no lens has met: an architecture by its name, with the task's head."""
    stem = judging.architectures[spec]
    return judging.network(spec, lambda: posed.build(spec, players.task, judging.image_size, stem))


@torch.no_grad()
def _posed(players: Players, index: Array, bar: Bar) -> tuple[Pictures, Pictures, float]:
    """The views of the images at `index`, raw and lensed, with what is asked of them; and the mean squared change."""
    assert players.lens is not None
    players.lens.eval()
    count, settings = players.task.views, players.settings
    asked: dict[str, list[Array]] = {}
    change: list[Array] = []

    def batches() -> Any:
        for batch in players.batches(index, max(1, VIEWS // count)):
            views, question, _ = players.views(batch, training=False)
            raw = quality.to_8_bits(views)
            lensed = quality.to_8_bits(players.lensed(raw, question, players.draws(batch)))
            for name, part in question.items():
                asked.setdefault(name, []).append(part.reshape(len(views), -1, *part.shape[1:]).cpu().numpy())
            change.append((lensed - raw).square().mean(dim=(1, 2, 3)).double().cpu().numpy())
            bar.add(len(batch.index))
            yield {"raw": rows_of(raw), "lensed": rows_of(lensed)}

    pictures = stored(batches(), len(index) * count, settings.data.image_size, cache_dir_of(settings.data))
    beside = {name: np.concatenate(parts) for name, parts in asked.items()}
    answer = beside.pop("target")
    answer = answer[:, 0] if answer.shape[1] == 1 else answer
    raw, lensed = (Pictures(pictures[kind], answer, beside) for kind in ("raw", "lensed"))
    return raw, lensed, float(np.concatenate(change).mean())
