"""The task as a run asks it: of its classes or sources, with removal by hand around it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.images import classes, data, divide, removal
from lens.images.splits import SPLITS
from lens.protocols.task import Task
from lens.settings.groups.views import ViewSettings


def posed_about(task: Task, name: str, shown: ViewSettings, images: data.Images) -> tuple[Task, Tensor | None]:
    """The task (called `name`) with removal by hand around it, and each image's answer where that comes from the data.

    Classes are those that training has, pooled over the sources by their names; an image of another has the answer −1: the head
    has no output for it, which would be the least likely one of every image. Raises BadInput where the task needs labels and an
    image has none, or all images of a split are of such classes.
    """
    answers = None
    if task.answer == "source":
        answers = torch.from_numpy(images.source)
        task = task.for_classes(images.keys)
    if task.answer == "label":
        label, kinds = classes.pooled(images)
        missing = int((label[images.split != divide.UNLABELLED] < 0).sum())
        if missing:
            raise BadInput(
                f"--task {name} needs labels and {missing} of {len(images)} images have none: use class folders, or take those images away"
            )
        held = {split: images.indices(split) for split in SPLITS}
        known, lines = classes.known({split: label[index] for split, index in held.items()}, kinds)
        for line in (*classes.joined(name for names in images.classes for name in names), *lines):
            say(f"--task {name}: {line}")
        for split, index in held.items():
            if len(index) and not known[split].any():
                raise BadInput(
                    f"--task {name} needs {split} images of classes that training has, and all {len(index):,} are of others: "
                    "name the class folders of all splits alike"
                )
        learnt = np.unique(label[held["train"]])
        if len(learnt) < 2:
            raise BadInput(f"--task {name} needs two classes and the data has {len(learnt)}: give another --data")
        number = np.full(len(kinds), -1)
        number[learnt] = np.arange(len(learnt))
        answers = torch.from_numpy(np.where(label < 0, -1, number[label]))
        task = task.for_classes([kinds[k] for k in learnt.tolist()])
    treated = removal.by_hand(task, shown.grey, shown.colour_jitter, shown.blur, shown.standardise)
    return treated, answers
