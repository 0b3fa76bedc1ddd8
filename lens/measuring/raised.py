"""A raised judge: it begins with what reads raw images, and is led along x_t = (1 − t)·raw + t·lensed to lensed ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lens.base.bar import Bar
from lens.base.draws import generator
from lens.measuring import judges
from lens.measuring.judge import JudgeResult, Pictures
from lens.measuring.judges import Network, Recipe

LED = 0.5
"""Share of the recipe's steps in which t goes from 0 to 1; those that are left are spent on lensed images."""


@dataclasses.dataclass(frozen=True)
class Raised:
    """The judge (`judge.Judge`) that a network becomes which learns `raw` pictures first, row by row those that it is asked about."""

    network: Network
    raw: dict[str, Pictures]

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.network.name}, raised"

    def read(self, pictures: dict[str, Pictures], seed: int, what: str) -> JudgeResult:
        """Learn raw pictures by the recipe, then as many steps as a fresh judge has: led to lensed ones, and on them alone."""
        of, recipe = self.network, self.network.recipe
        lead = max(1, round(LED * recipe.steps))
        with Bar(f"{what}: {self.name}, seed {seed}", 2 * recipe.steps, "steps") as bar:
            model, _ = judges.trained(of.make, self.raw, seed, recipe, of.device, of.autocast, of.flip, bar.advance)
            between = (self.raw["train"], pictures["train"])
            led(model, between, seed, dataclasses.replace(recipe, steps=lead), of.device, of.autocast)
            rest = dataclasses.replace(recipe, steps=max(1, recipe.steps - lead), least=max(0, recipe.least - lead))

            def advance(done: int, note: str) -> None:
                bar.advance(recipe.steps + lead + done, note)

            return judges.trained(lambda: model, pictures, seed, rest, of.device, of.autocast, of.flip, advance)[1]


def led(
    model: nn.Module,
    between: tuple[Pictures, Pictures],
    seed: int,
    recipe: Recipe,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Train a network on the way from one set of pictures to another of the same answers, a step nearer with each batch.

    At step s of S it sees x_t with t = (s + 1) / S; the rate is the recipe's, risen over 50 steps.
    """
    first, last = between
    optimizer = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    rows, sizes = judges.by_class(first.answer)
    model.train()
    for step in range(recipe.steps):
        chosen = rows[judges.balanced_batch(sizes, recipe.batch, generator(seed, step, "raised batch"))]
        t = (step + 1) / recipe.steps
        inputs = torch.lerp(
            judges.inputs_of(first.images[chosen], device), judges.inputs_of(last.images[chosen], device), t
        )
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * min(1.0, (step + 1) / 50)
        with autocast():
            logits = model(inputs, *judges.question_of(last, chosen, device))
        answer = torch.from_numpy(last.answer[chosen]).reshape(-1).to(device)
        loss = functional.cross_entropy(logits.float(), answer)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
