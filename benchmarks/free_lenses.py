"""What keeps a free lens from hiding? Ways to train it, each asked about by the same judges, of cues that nobody tuned for.

    python -m benchmarks.free_lenses --data ./cifar10/ --seeds 10 --out free_lenses.jsonl

Each of three plants of its own marks one of two random halves; a lens of full resolution is trained as `WAYS` says, and the proof's
judges read what it leaves: a fresh network, the extractor trained on, and forensic trees. A way is chosen by validation images,
by the strictest judge, at about one PSNR; the test figures stand beside it. A try that stands in --out is not made again. The
cues are others than those of configs/removal/unseen, and the last of the images are taken, so that what is chosen here can be reported there.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.base.entry_point import guard
from lens.base.terminal import say
from lens.images.batching import training_batches
from lens.images.training_set import training_images
from lens.measuring.forensic import Forensic
from lens.measuring.judges import Recipe
from lens.operations.convolutions import blurred
from lens.players.build import build, new_extractor
from lens.players.fabric import make_fabric
from lens.players.players import Players
from lens.protocols.task import Question, WrappedTask
from lens.proving import reading
from lens.proving.lensing import lens_splits
from lens.proving.proof import judging_of, trained_on
from lens.proving.removal import asked_of, quality, told_apart
from lens.settings.parsing import parse
from lens.training.learner import Learner, extractor_optimizer
from lens.training.trainer import Trainer

if TYPE_CHECKING:
    from lens.images.data import Images

COMMON = (
    "--task dataset_classification --pseudo_sources 2 --shortcut watermark --shortcut_key source --extractor all_conv "
    "--image_size 32 --cache_image_size 32 --augment none --batch_size 32 --lens_update_every 2 --lens_noise 0.04 --precision 32"
)
"""What all runs have; the watermark stands for the cue until it is replaced."""
JUDGES = ("fresh", "trained_on", "forensic")


# --- the cues --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Speckle:
    """Noise that is in proportion to the light."""

    plants: ClassVar[bool] = True
    strength: float = 0.06

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        return (images * (1 + self.strength * draws.normal("speckle", *images.shape[1:]).to(images))).clamp(0, 1)


@dataclasses.dataclass(frozen=True)
class Sharpened:
    """A camera's sharpening: what differs from the mean of 3×3 pixels is raised."""

    plants: ClassVar[bool] = True
    strength: float = 1.0

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        return (images + self.strength * (images - blurred(images))).clamp(0, 1)


@dataclasses.dataclass(frozen=True)
class Checks:
    """Every other pixel is a little lighter, as on a chess-board."""

    plants: ClassVar[bool] = True
    strength: float = 0.02

    def plant(self, images: Tensor, theta: Tensor, draws: Draws) -> Tensor:
        """The same for every θ."""
        rows, columns = (torch.arange(side, device=images.device) % 2 for side in images.shape[-2:])
        return (images + self.strength * (1 - 2.0 * (rows[:, None] ^ columns[None, :]))).clamp(0, 1)


CUES: dict[str, Any] = {"speckle": Speckle(), "sharpened": Sharpened(), "checks": Checks()}


# --- the ways --------------------------------------------------------------------------------------------------------


class Moved(WrappedTask):
    """A task that shows each view moved by a few pixels, after the lens: its grid is no place to write to."""

    def present(self, views: Tensor, question: Question) -> Tensor:
        """The inner task's input of views that are moved by at most two pixels, their edge repeated."""
        side = views.shape[-1]
        top, left = (int(torch.randint(5, ())) for _ in range(2))
        moved = functional.pad(views, (2, 2, 2, 2), mode="replicate")[..., top : top + side, left : left + side]
        return self.task.present(moved, question)


class PastSelves(nn.Module):
    """A network that is many: each image is given to one of the states that it was in (fictitious play, Brown 1951).

    While it moves the present one plays; in the steps between, in which the extractor alone learns, one of the past ones.
    """

    def __init__(self, now: nn.Module, selves: int, moves: int) -> None:
        super().__init__()
        self.now, self.past = now, nn.ModuleList(copy.deepcopy(now) for _ in range(selves))
        self.past.requires_grad_(requires_grad=False)
        self.every, self.first = max(1, round(0.7 * moves / selves)), round(0.3 * moves)
        self.moves = self.held = 0

    def train(self, mode: bool = True) -> PastSelves:
        """The past ones never learn."""
        super().train(mode)
        self.past.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W) → (V, 3, H, W)."""
        if self.training and torch.is_grad_enabled():
            if self.moves >= self.first and (self.moves - self.first) % self.every == 0:
                self.past[self.held % len(self.past)].load_state_dict(self.now.state_dict())
                self.held += 1
            self.moves += 1
        held = min(self.held, len(self.past))
        if not held or (self.training and torch.is_grad_enabled()):
            present: Tensor = self.now(inputs)
            return present
        if self.training:
            earlier: Tensor = self.past[int(torch.randint(held, ()))](inputs)
            return earlier
        chosen = (inputs.double().sum(dim=(1, 2, 3)) * 1e6).long() % held  # a function of the image, as noise is
        found = torch.empty_like(inputs)
        for number in range(held):
            found[chosen == number] = self.past[number](inputs[chosen == number])
        return found


class SameInAll(nn.Module):
    """A network whose mean edit over a batch costs something: the loss of the lens has weight · mean square of it more."""

    def __init__(self, net: nn.Module, weight: float) -> None:
        super().__init__()
        self.net, self.weight = net, weight

    def forward(self, inputs: Tensor) -> Tensor:
        """(V, 3, H, W) → (V, 3, H, W)."""
        delta: Tensor = self.net(inputs)
        if delta.requires_grad:
            more = 2 * self.weight * delta.detach().mean(dim=0, keepdim=True) / delta.numel()
            delta.register_hook(lambda gradient: gradient + more)  # type: ignore[no-untyped-call]
        return delta


def past_selves(players: Players, steps: int) -> None:
    """Twelve states over the last 70 % of the moves."""
    lens: Any = players.lens
    lens.unet = PastSelves(lens.unet, 12, steps // 2)


def same_in_all(players: Players, steps: int) -> None:
    """A weight ten times what the error of restoring usually has."""
    lens: Any = players.lens
    lens.unet = SameInAll(lens.unet, 1000)


def group_norm(players: Players, steps: int) -> None:
    """Group norm (four groups) in the lens, in place of batch norm."""
    lens: Any = players.lens
    for module in list(lens.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(4, child.num_features))


def nothing(*_: Any) -> None:
    """As it is."""


def moved(trainer: Trainer) -> None:
    """The extractor sees views that are moved after the lens."""
    trainer.game = dataclasses.replace(trainer.game, task=Moved(trainer.game.task))


def held_rate(trainer: Trainer) -> None:
    """The lens's rate stays at its peak while the extractor's falls."""
    assert trainer.lens is not None
    to = trainer.lens.set_rate
    trainer.lens.set_rate = lambda share: to(1.0)  # type: ignore[method-assign]


def one_anew(trainer: Trainer) -> Callable[[int], None]:
    """Two extractors take turns, two steps each; the second starts anew five times."""
    settings, fabric = trainer.settings, trainer.fabric

    def learner() -> Learner:
        network = new_extractor(settings, trainer.players.task).to(memory_format=torch.channels_last)
        return Learner(fabric, network, extractor_optimizer(network, settings.optimisation), settings.optimisation.lr)

    both = [trainer.extractor, learner()]

    def before(step: int) -> None:
        if step and step % -(-trainer.total // 6) == 0:
            both[1] = learner()
        trainer.extractor = both[step // 2 % 2]

    return before


@dataclasses.dataclass(frozen=True)
class Way:
    """How a lens is trained: settings, what is done to the players before there are optimisers, and to the trainer.

    What `trained` gives is called before every step.
    """

    words: str = ""
    built: Callable[[Players, int], None] = nothing
    trained: Callable[[Trainer], Callable[[int], None] | None] = nothing


WAYS = {
    "as it is": Way(),
    "noise before and after": Way("--lens noise+full_res --lens.noise.sigma 0.06 --lens_noise 0.03"),
    "noise before": Way("--lens noise+full_res --lens.noise.sigma 0.08 --lens_noise 0"),
    "more noise before": Way("--lens noise+full_res --lens.noise.sigma 0.11 --lens_noise 0"),
    "most noise before": Way("--lens noise+full_res --lens.noise.sigma 0.15 --lens_noise 0"),
    "a lower resolution before": Way("--lens downsample+full_res"),
    "a lower resolution and noise before": Way(
        "--lens downsample+noise+full_res --lens.noise.sigma 0.05 --lens_noise 0"
    ),
    "moved after the lens": Way(trained=moved),
    "two extractors, one anew": Way(trained=one_anew),
    "what is the same in all costs": Way(built=same_in_all),
    "the lens's rate held": Way("--lr_schedule cosine", trained=held_rate),
    "group norm": Way(built=group_norm),
    "past selves": Way("--lens_ema 0", built=past_selves),
}


# --- a try -----------------------------------------------------------------------------------------------------------


def tried(asked: argparse.Namespace, cue: str, way: Way, seed: int) -> dict[str, Any]:
    """Train one lens, let the judges read: a line of --out without its names."""
    start = time.perf_counter()
    own = ["--data", asked.data, "--seed", str(seed), "--steps", str(asked.steps), "--threads", str(asked.threads)]
    parsed = parse([*COMMON.split(), *way.words.split(), *own], "lens.train")
    fabric, images = make_fabric(parsed.settings.machine), last_of(training_images(parsed.settings), asked.images)
    players = dataclasses.replace(build(parsed, images, fabric), shortcut=CUES[cue])
    way.built(players, asked.steps)
    trainer = Trainer(players, asked.steps)
    before, size = way.trained(trainer) or nothing, parsed.settings.optimisation.batch_size
    for batch in training_batches(images, size, seed, 0, asked.steps, 0, balanced=True):
        before(trainer.step)
        losses = trainer.train_step(batch.to(fabric.device))
        if trainer.step % 250 == 0:
            say(f"  {cue}, step {trainer.step}: {', '.join(f'{k} {float(v):.3f}' for k, v in losses.parts().items())}")
    judging = dataclasses.replace(judging_of(players), recipe=Recipe(asked.judge_steps), seeds=[seed])
    first = next(iter(judging.architectures))
    judging = dataclasses.replace(judging, architectures={first: judging.architectures[first]})
    sets = lens_splits(players)
    question = asked_of(sets)
    raw = told_apart(sets, judging, "raw")[0]["balanced_accuracy"].value
    judges = (judging.fresh(first, 2), trained_on(players, judging), Forensic())
    read = dict(zip(JUDGES, (reading.read_by(judge, question, seed)[0] for judge in judges), strict=True))
    line = {
        "raw": raw,
        "psnr": quality(sets.splits["test"], seed)["psnr"].value,
        "seconds": time.perf_counter() - start,
    }
    return (
        line
        | {name: one.value for name, one in read.items()}
        | {f"val_{name}": one.validation for name, one in read.items()}
    )


def last_of(images: Images, count: int) -> Images:
    """At most `count` images of each split, the last ones."""
    kept = np.concatenate([images.indices(split)[-count:] for split in ("train", "fresh", "val", "test")])
    split = images.split.copy()
    split[np.setdiff1d(np.arange(len(split)), kept)] = "unused"
    return dataclasses.replace(images, split=split)


def table(lines: list[dict[str, Any]]) -> list[str]:
    """A row for each way and cue, the mean over its seeds, in %."""
    text = [
        "| cue | way | seeds | raw | fresh | trained on | trees | strictest (validation) | PSNR, dB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["cue"], line["way"]), []).append(line)
    for (cue, way), group in groups.items():
        means = {key: np.mean([line[key] for line in group]) for key in ("raw", *JUDGES, "psnr")}
        strictest = np.mean([max(line[f"val_{name}"] for name in JUDGES) for line in group])
        read = " | ".join(f"{100 * means[key]:.1f}" for key in ("raw", *JUDGES))
        text.append(f"| {cue} | {way} | {len(group)} | {read} | {100 * strictest:.1f} | {means['psnr']:.1f} |")
    return text


def main(argv: list[str] | None = None) -> int:
    """Make every try that is not in --out yet, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pictures of 32 px, as for lens train --data")
    parser.add_argument("--images", type=int, default=3000, help="of each split, at most")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--judge_steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10])
    parser.add_argument("--cues", nargs="+", default=list(CUES), choices=list(CUES))
    parser.add_argument("--ways", default="", help="only ways whose name has this in it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("free_lenses.jsonl"), help="a line for each try")
    asked = parser.parse_args(argv)

    def run() -> int:
        done: dict[tuple[Any, ...], dict[str, Any]] = {}
        if asked.out.exists():
            lines = map(json.loads, asked.out.read_text(encoding="utf-8").splitlines())
            done = {(line["cue"], line["way"], line["seed"]): line for line in lines}
        for seed in asked.seeds:
            for name, way in WAYS.items():
                for cue in asked.cues:
                    if (cue, name, seed) in done or asked.ways not in name:
                        continue
                    found = {"cue": cue, "way": name, "seed": seed, "steps": asked.steps}
                    done[cue, name, seed] = found | tried(asked, cue, way, seed)
                    with asked.out.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(done[cue, name, seed]) + "\n")
                    say(table([done[cue, name, seed]])[-1])
        print("\n".join(table([done[key] for key in sorted(done)])))
        return 0

    return guard(run)


if __name__ == "__main__":
    sys.exit(main())
