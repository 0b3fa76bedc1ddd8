"""The loop's state and its step: both players move, what they lost is written down."""

from __future__ import annotations

import copy
import functools
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lens.base.draws import Draws, step_seed
from lens.base.files import write_tensors
from lens.base.versions import git_commit, versions
from lens.images.batching import Batch
from lens.measuring import pretext
from lens.operations import quality
from lens.players.fixed import FixedLens
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.players.rivals import Rival
from lens.players.weights import SIDE
from lens.protocols.lookup import key_name
from lens.protocols.task import Question
from lens.record.run import Run
from lens.results.match import Match
from lens.results.reconstruction import Reconstruction
from lens.results.trained import Best, Trained
from lens.training.coupled import Coupled
from lens.training.learner import Learner, extractor_optimizer, lens_optimizer, move_towards, rate_share
from lens.training.steering import Steering
from lens.training.step import (
    Game,
    Losses,
    Player,
    Rules,
    adversarial_step,
    clamp_straight_through,
    plain_step,
    rival_step,
)
from lens.training.window import Window


class Trainer:
    """The state of the loop, everything that a checkpoint holds (`checkpoint`): both players' learning, λ, the step."""

    def __init__(self, players: Players, total: int) -> None:
        settings = players.settings
        learning = settings.optimisation
        self.players, self.settings, self.total = players, settings, total
        self.fabric, self.ranks = players.fabric, players.ranks
        couples = players.task.couples and self.ranks.world > 1
        task = Coupled(players.task, self.ranks) if couples else players.task
        self.game = Game(task, Rules.of(settings.game), self._backward, 1 / learning.grad_accum_steps)
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self.window = Window(self.fabric.device, self.ranks)
        extractor, lens = players.extractor, players.lens
        free = isinstance(lens, LearnedLens) and lens.replaces  # its change is no budget: nobody weighs it
        weight, target = (0.0, None) if free else (settings.game.first_recon_weight, settings.game.steered_psnr)
        self.steering = Steering(weight, target, settings.game.steering, self.fabric.device)
        self.extractor = Learner(self.fabric, extractor, extractor_optimizer(extractor, learning), learning.lr)
        self.rival = lens if isinstance(lens, Rival) else None
        self.fixed = lens if isinstance(lens, FixedLens) else None
        self.lens: Learner | None = None
        if isinstance(lens, LearnedLens):
            # With an average of its weights the lens that is measured and kept is another one than the one that moves.
            moving = copy.deepcopy(lens) if learning.lens_ema else lens
            self.lens = Learner(self.fabric, moving, lens_optimizer(moving, learning), learning.lens_lr)
            moving.take_parts(self.game.share)

    @property
    def moving(self) -> LearnedLens:
        """The lens that moves."""
        assert self.lens is not None
        assert isinstance(self.lens.network, LearnedLens)
        return self.lens.network

    @property
    def learners(self) -> list[Learner]:
        """Whoever learns: the extractor, and the lens where there is one that does."""
        return [self.extractor] + ([self.lens] if self.lens is not None else [])

    # --- one step ----------------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> Losses:
        """Pose the batch, take both players' gradients at the same point, move both."""
        learning, rank = self.settings.optimisation, self.ranks.rank
        torch.manual_seed(step_seed(learning.seed, self.step, f"dropout {rank}" if rank else "dropout"))
        self._set_rates()
        self.extractor.module.train()
        self.extractor.optimizer.zero_grad()
        lens_moves = self.lens is not None and (self.step + 1) % learning.lens_update_every == 0
        if self.lens is not None:
            self.lens.module.train()
            self.lens.optimizer.zero_grad()
        views, question = self._posed(batch)
        count = learning.grad_accum_steps
        views_of, draws_of = views.chunk(count), self.players.draws(batch).chunk(count)
        question_of = [{name: value.chunk(count)[part] for name, value in question.items()} for part in range(count)]
        mean = _mean_of([self._part(*part, lens_moves) for part in zip(views_of, question_of, draws_of, strict=True)])
        self.norms = {"extractor_gradient": self.extractor.gradient_norm()}
        self.extractor.optimizer.step()
        if self.lens is not None and lens_moves:
            self.norms["lens_gradient"] = self.lens.gradient_norm()
            self.lens.optimizer.step()
            self._average()
        if lens_moves and self.steering.target_psnr is not None:
            assert mean.clamped_mse is not None
            assert mean.pull is not None
            self.steering.update(self.ranks.mean(mean.clamped_mse.detach()), self.ranks.mean(mean.pull))
        if self.rival is not None:
            assert mean.clamped_mse is not None
            self.rival.steer(self.ranks.mean(mean.clamped_mse))
        self.step += 1
        return mean

    def _posed(self, batch: Batch) -> tuple[Tensor, Question]:
        """A batch's views and questions, with other images' answers or mixed where the settings say so."""
        players, settings = self.players, self.settings
        views, question, _ = players.views(batch, training=True)
        if settings.question.shuffle_labels:
            question["target"] = _of_others(question["target"], len(batch.index))
        if players.mixing.active:
            classes = self.game.task.classes
            assert classes is not None
            seed = step_seed(settings.optimisation.seed, self.step, f"mixing {self.ranks.rank}")
            views, question = players.mixing.mix(views, question, classes, len(batch.index), seed)
        return views, question

    def _part(self, views: Tensor, question: Question, draws: Draws, lens_moves: bool) -> Losses:
        """One part of a batch: whoever plays, both gradients are added."""
        game, extractor = self.game, self.extractor.player
        if self.rival is not None:
            return rival_step(game, extractor, views, self.rival(views, question, draws), question)
        if self.fixed is not None:
            return rival_step(game, extractor, views, self.fixed(views, draws), question)
        if self.lens is None:
            return plain_step(game, extractor, views, question)
        # The lens that moves, with the noise that it adds to these views.
        module, with_noise = self.lens.module, {"noise": self.moving.noise_for(views, draws), "draws": lambda: draws}
        if lens_moves:
            lens = Player(functools.partial(module, **with_noise, in_step=True), self.lens.parameters)
            return adversarial_step(game, lens, extractor, views, question, self.steering.weight)
        with torch.no_grad():
            changed = clamp_straight_through(module(views, **with_noise))
        return rival_step(game, extractor, views, changed, question)

    def _backward(self, loss: Tensor, inputs: list[nn.Parameter], keep: bool) -> None:
        self.fabric.backward(loss, inputs=inputs, retain_graph=keep)

    def _set_rates(self) -> None:
        learning = self.settings.optimisation
        share = functools.partial(rate_share, self.step, self.total, learning.warmup_fraction)
        self.extractor.set_rate(share(falls=learning.lr_schedule == "cosine"))
        if self.lens is not None:
            self.lens.set_rate(share())

    def _average(self) -> None:
        """Move the lens that is kept towards the one that moves; over the first moves as a plain average, nearly."""
        kept = self.players.lens
        if kept is self.moving:
            return
        assert kept is not None
        learning = self.settings.optimisation
        moves = (self.step + 1) // learning.lens_update_every
        move_towards(kept, self.moving, min(learning.lens_ema, moves / (moves + 9)))

    # --- the record --------------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Count training time from here: evaluations and checkpoints are left out of it."""
        self.clock = time.monotonic()

    def remember(self, losses: Losses) -> None:
        """Keep this step's losses and gradient norms on the device until they are logged."""
        self.window.add(losses.parts() | self.norms)

    def log(self, run: Run) -> str:
        """Write the means since the last line; stop the run where a loss is not finite. Returns a note for the bar."""
        if not len(self.window):
            return ""
        count = len(self.window)
        means = self.window.means(self.step, run.last_checkpoint_path)
        # Reading the values waited for the device, so the clock is right on a GPU too.
        self.seconds += time.monotonic() - self.clock
        self.start_clock()
        line: dict[str, Any] = {"kind": "train", "step": self.step, "steps_averaged": count} | means
        if self.lens is not None:
            line["recon_weight"] = float(self.steering.weight)
        if self.rival is not None:
            line["strength"] = float(self.rival.strength)
        if "clamped_mse" in line:
            line["psnr"] = quality.psnr(max(line["clamped_mse"], 1e-12))
        line["lr"] = self.extractor.rate
        line["images_per_second"] = self.step * self.settings.optimisation.batch_size / max(self.seconds, 1e-9)
        run.log(line)
        psnr = f", PSNR {line['psnr']:.1f} dB" if "psnr" in line else ""
        return f"loss {line['extractor']:.3f}{psnr}"

    def evaluate(self, run: Run) -> None:
        """Ask the task about held-out validation images; keep the weights that do best on clean ones.

        The line's `psnr` is over every view at 8 bits, as in summary.json; its `mse` over every view before rounding, as
        in training: what a rival is held to (`rival_target.target_mse`). The last one of all says `psnr_planted` and `ssim` too.
        """
        self.players.share_statistics()
        if self.players.lensed_statistics_only:
            self.players.reestimate_statistics(self.players.extractor)
        index = self.players.held_out("val")
        last = self.step == self.total
        result = pretext.measured(self.players, index, with_ssim=last)
        line: dict[str, Any] = {"kind": "val", "step": self.step}
        line |= {kind: result.mean(score, result.count) for kind, score in result.score.items()}
        if self.players.lens is not None:
            views = len(index) * result.views
            line["psnr"] = quality.psnr(float(result.squared_error.sum() / views))
            line["mse"] = float(result.change.sum() / views)
            if last:
                line["ssim"] = float(result.ssim.sum() / views)
            if last and result.planted_views.any():
                planted = float(result.planted_squared_error.sum() / result.planted_views.sum())
                line["psnr_planted"] = quality.psnr(planted)
        run.log(line)
        better = line["clean"] if result.chance is not None else -line["clean"]
        if self.best is None or better > self.best["score"]:
            self.best = {"score": better, "step": self.step}
            if self.ranks.writes:
                self.save_weights(run.folder("best"))

    # --- what is kept ------------------------------------------------------------------------------------------------

    def save_weights(self, folder: Path) -> None:
        """Write the players as safetensors: the backbone as timm names it, the head, the lens."""
        extractor = self.players.extractor
        rest = {k: v for k, v in extractor.state_dict().items() if not k.startswith("backbone.")}
        parts = {"extractor": extractor.backbone.state_dict(), "head": rest}
        if self.players.lens is not None:
            parts["lens"] = self.players.lens.state_dict()
        side = self.lens_side
        write_tensors(folder, parts, {} if side is None else {"lens": {SIDE: str(side)}})

    @property
    def lens_side(self) -> int | None:
        """The size that the lens edits and is trained at, None without a lens: the images', or that of its first weights."""
        lens = self.players.lens
        return (lens.side or self.settings.data.image_size) if isinstance(lens, LearnedLens) else None

    def missed_target(self, found: Reconstruction | None) -> str | None:
        """A line where the lens changes test images more than --target_psnr asked, by over half a decibel; else None."""
        asked = self.steering.target_psnr
        psnr = None if found is None or found.psnr is None else found.psnr.value  # None as well where nothing changed
        if self.lens is None or asked is None or psnr is None or psnr > asked - 0.5:
            return None
        return (
            f"the lens changes more than was asked: {psnr:.1f} dB on test images, --target_psnr {asked:g}; "
            "try more --steps, a lens that restores better, or ask for fewer dB"
        )

    def trained(self, run: Run) -> Trained:
        """What was run and how fast."""
        settings = self.settings
        images_seen = self.step * settings.optimisation.batch_size
        commands = run.commands()
        return Trained(
            task=key_name(settings.question.task),
            data="+".join(settings.data.sources),
            shortcut=key_name(settings.question.shortcut),
            shortcut_key=settings.question.shortcut_key if self.players.shortcut.plants else None,
            lens=key_name(settings.players.lens),
            objective=settings.game.objective,
            shuffle_labels=settings.question.shuffle_labels,
            recon_weight=float(self.steering.weight) if self.lens is not None else None,
            seed=settings.optimisation.seed,
            steps=self.step,
            images_seen=images_seen,
            seconds=self.seconds,
            images_per_second=images_seen / max(self.seconds, 1e-9),
            ranks=self.ranks.world,
            sync_batchnorm=settings.optimisation.sync_batchnorm if self.ranks.world > 1 else None,
            skipped_images=len(self.players.images.skipped),
            best=None if self.best is None else Best(**self.best),
            versions=versions(),
            git_commit=git_commit(),
            command=" && ".join(commands),
            resumed=len(commands) - 1,
        )

    def match(self, run: Run) -> Match | None:
        """How closely a rival's change on validation images meets its target."""
        if self.rival is None:
            return None
        mse = [line["mse"] for line in run.metrics() if line["kind"] == "val"][-1]
        return Match(
            to=self.settings.game.match_mse,
            target_mse=self.rival.target_mse,
            validation_mse=mse,
            ratio=mse / self.rival.target_mse,
            strength=float(self.rival.strength),
        )


def _of_others(target: Tensor, images: int) -> Tensor:
    """Each row's answer (E, …) replaced by that of a random row of another image of the batch: it knows nothing of its own."""
    rows = len(target) // images
    own = torch.arange(images).repeat_interleave(rows)
    other = (own + torch.randint(1, images, own.shape)) % images
    return target[(other * rows + torch.randint(rows, own.shape)).to(target.device)]


def _mean_of(parts: list[Losses]) -> Losses:
    """The mean of the losses of a batch's parts, which are of equal size."""
    names = parts[0].parts()
    return Losses(**{name: torch.stack([part.parts()[name] for part in parts]).mean() for name in names})
