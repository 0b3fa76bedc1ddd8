"""Judges that are networks: trained on 8-bit images until they learn no more, to tell what can be read."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base import yaml_text
from lens.base.bar import Bar
from lens.base.draws import generator, step_seed
from lens.base.errors import BadInput
from lens.measuring.judge import JudgeResult, Pictures
from lens.measuring.proportions import means_by_class
from lens.players.building import build_extractor
from lens.protocols.lookup import find

Array = np.ndarray[Any, Any]
FOUND = 0.95
"""Validation accuracy at which a classifier has found what it was looking for."""
SLOWER = 2
"""How often one that diverges begins again, each time at a tenth of the rate."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How every fresh classifier is trained: AdamW, its rate cut to a tenth on each plateau of the validation loss, and
    over the last `cooldown` of the steps decayed to zero in a straight line (Hägele et al. 2024, arXiv:2405.18392, sec. 3).

    Validation is asked every `every` steps; `patience` times without a lower loss is a plateau, and the training ends
    on the third one, or after `steps`, where that comes first (then it is told that no plateau was reached). The first
    `least` steps count for no plateau, unless nearly all is read by then: a faint cue is often found only after hundreds
    of steps at chance. At a validation accuracy of `enough` it stops: what is read by then is settled. Both ask for `sure`
    validation images of every class: of a few, many are right by luck.
    """

    steps: int = 2000
    cooldown: float = 0.25
    least: int = 1000
    sure: int = 50
    every: int = 100
    patience: int = 2
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 1e-3
    enough: float = 0.98


def build(spec: str, classes: int, image_size: int, stem: str) -> nn.Module:
    """A freshly initialised classifier, from torch's current seed: an extractor's name, or `NAME:{argument: value, …}`.

    `stem` as `--extractor_stem`. Raises BadInput for an unknown name, or arguments that it does not take.
    """
    name, arguments = parts(spec)
    task = find("task", "labels")().for_classes([str(k) for k in range(classes)])
    return build_extractor(task, name, image_size, stem, arguments, pretrained=False, separate=False, flag="judges")


def parts(spec: str) -> tuple[str, dict[str, Any]]:
    """`resnet10t:{stem_width: 8}` → the model's name and its arguments. Raises BadInput where they are no mapping."""
    name, colon, rest = spec.partition(":")
    try:
        arguments = yaml_text.parse(rest) if colon else {}
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BadInput(f"classifier {spec!r}: after the colon come arguments, as in resnet10t:{{stem_width: 8}}")
    return name, arguments


def trained(
    make: Callable[[], nn.Module],
    pictures: dict[str, Pictures],
    seed: int,
    recipe: Recipe,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    flip: bool = False,
    tell: Callable[[int, str], None] = lambda done, note: None,
    slower: int = 0,
) -> tuple[nn.Module, JudgeResult]:
    """Train what `make` builds on the pictures of `train`, stop on those of `val`, answer about those of `test`.

    Every class is shown equally often, where an image is asked one thing. With `flip` training images are mirrored at random: for what the pictures show,
    never for where they come from (a marker's side can be the cue). `tell` is called with the steps done and a note.

    One whose loss is no finite number any more keeps its best weights; has it none, it begins again at a tenth of the rate, twice
    at most: it would give one answer to all, and that reads as chance. Raises BadInput where that does not help either.
    """
    torch.manual_seed(step_seed(seed, 0, "fresh classifier"))
    model = make().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    train = pictures["train"]
    rows, sizes = by_class(train.answer)
    certain = np.unique(pictures["val"].answer, return_counts=True)[1].min() >= recipe.sure
    best: tuple[tuple[float, float], dict[str, Tensor]] = ((-1.0, 0.0), {})
    lowest, waited, plateaus, step = float("inf"), 0, 0, 0

    def answers(split: str) -> tuple[Array, float]:
        model.eval()
        told, loss = [], 0.0
        shown = pictures[split]
        for start in range(0, len(shown.answer), 512):
            part = slice(start, start + 512)
            with torch.no_grad(), autocast():
                logits = model(inputs_of(shown.images[part], device), *question_of(shown, part, device)).float()
            target = torch.from_numpy(shown.answer[part]).reshape(-1).to(device)
            loss += float(functional.cross_entropy(logits, target, reduction="sum"))
            told.append(logits.argmax(dim=1).cpu().numpy())
        return np.concatenate(told), loss / shown.answer.size

    while step < recipe.steps and plateaus < 3:
        model.train()
        chosen = rows[balanced_batch(sizes, recipe.batch, generator(seed, step, "fresh batch"))]
        inputs = inputs_of(train.images[chosen], device)
        if flip:
            mirrored = torch.rand(len(inputs), generator=generator(seed, step, "fresh flip")).to(device) < 0.5
            inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
        rate = _rate(recipe, step, plateaus)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with autocast():
            logits = model(inputs, *question_of(train, chosen, device))
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(train.answer[chosen]).reshape(-1).to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        step += 1
        if step % recipe.every and step < recipe.steps:
            continue
        told, value = answers("val")
        if not math.isfinite(value):
            break
        truth = pictures["val"].answer.reshape(-1)
        accuracy = float(means_by_class(told == truth, truth).mean())
        tell(step, f"validation {100 * accuracy:.1f} %")
        if (accuracy, -value) > best[0]:
            best = ((accuracy, -value), copy.deepcopy(model.state_dict()))
        if certain and accuracy >= recipe.enough:
            plateaus = 3
        lowest, waited = (value, 0) if value < lowest - 1e-4 else (lowest, waited + 1)
        if waited >= recipe.patience and (step >= recipe.least or (certain and accuracy >= FOUND)):
            plateaus, waited = plateaus + 1, 0
    if not best[1]:
        if slower < SLOWER:
            tell(step, "diverged: again at a tenth of the rate")
            slow = dataclasses.replace(recipe, lr=recipe.lr / 10)
            return trained(make, pictures, seed, slow, device, autocast, flip, tell, slower + 1)
        raise BadInput(
            f"the loss of a judge is no finite number, even at a rate of {recipe.lr:g}: ask another one, with --judges"
        )
    model.load_state_dict(best[1])
    return model, JudgeResult(answers("test")[0], best[0][0], -best[0][1], step, plateaus >= 3)


def _rate(recipe: Recipe, step: int, plateaus: int) -> float:
    """The learning rate of step `step` (from 0): risen over 50 steps, a tenth for each plateau, zero after the last."""
    left = (recipe.steps - step) / max(1.0, recipe.cooldown * recipe.steps)
    return recipe.lr * 0.1**plateaus * min(1.0, (step + 1) / 50, left)


def inputs_of(images: Array, device: torch.device) -> Tensor:
    """uint8 (B, H, W, C) → the classifier's input in [−1, 1], (B, C, H, W) in channels-last memory."""
    rows = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return rows.permute(0, 3, 1, 2).float() / 127.5 - 1


def question_of(shown: Pictures, rows: Any, device: torch.device) -> tuple[dict[str, Tensor], ...]:
    """What a network is told beside the images at `rows`: nothing, or what is asked, one after the other (B·…, …)."""
    if not shown.question:
        return ()
    return ({name: torch.from_numpy(part[rows]).flatten(0, 1).to(device) for name, part in shown.question.items()},)


def by_class(answer: Array) -> tuple[Array, Array]:
    """The images' places class by class, and how many each class has; all are one class where each is asked several things."""
    if answer.ndim > 1:
        return np.arange(len(answer)), np.array([len(answer)])
    return np.argsort(answer, kind="stable"), np.unique(answer, return_counts=True)[1]


def balanced_batch(sizes: Array, batch: int, draws: torch.Generator) -> Array:
    """`batch` places in a list of classes of these sizes, one class after the other: of a uniform class a uniform place."""
    kind = torch.randint(len(sizes), (batch,), generator=draws).numpy()
    place = torch.rand(batch, generator=draws, dtype=torch.float64).numpy()
    first = np.cumsum(sizes) - sizes
    chosen: Array = first[kind] + (place * sizes[kind]).astype(np.int64)
    return chosen


@dataclasses.dataclass(frozen=True)
class Network:
    """A judge that is a network: what `make` builds is trained by the recipe, and shows a bar meanwhile.

    `make` is called after the seed is set: a fresh network, or one that begins with weights of its own.
    """

    name: str
    make: Callable[[], nn.Module]
    recipe: Recipe
    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]]
    flip: bool = False

    def read(self, pictures: dict[str, Pictures], seed: int, what: str) -> JudgeResult:
        """As `Judge.read`."""
        with Bar(f"{what}: {self.name}, seed {seed}", self.recipe.steps, "steps") as bar:
            found = trained(self.make, pictures, seed, self.recipe, self.device, self.autocast, self.flip, bar.advance)
        return found[1]


@dataclasses.dataclass(frozen=True)
class Judging:
    """With which networks is judged, and where.

    `architectures` are their names, as `build` takes them, each with its stem; the first one also learns the class labels.
    `seeds` are those of each architecture, `seed` that of everything else that is drawn. `raised`: a judge of the first one that
    begins with raw images is asked too (`raised.Raised`).
    """

    architectures: Mapping[str, str]
    seeds: list[int]
    seed: int
    recipe: Recipe
    image_size: int
    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]]
    raised: bool = False

    def fresh(self, name: str, classes: int) -> Network:
        """A judge for a question of so many classes, which no lens has met: an architecture by its name."""
        return self.network(name, lambda: build(name, classes, self.image_size, self.architectures[name]))

    def of_labels(self, classes: int) -> Network:
        """The first architecture for class labels: mirrored images count as well, and the last points too."""
        first = self.fresh(next(iter(self.architectures)), classes)
        return dataclasses.replace(first, flip=True, recipe=dataclasses.replace(self.recipe, enough=1.0))

    def network(self, name: str, make: Callable[[], nn.Module]) -> Network:
        """A judge of any network."""
        return Network(name, make, self.recipe, self.device, self.autocast)

    def check(self) -> None:
        """Raise BadInput for a network that cannot be built."""
        for name in self.architectures:
            self.fresh(name, 2).make()


def stem_of(spec: str, image_size: int) -> str:
    """The root of a judge: the small one for ResNets on small images."""
    name, _ = parts(spec)
    return "small" if image_size <= 64 and name.startswith(("resnet", "test_resnet")) else "default"
