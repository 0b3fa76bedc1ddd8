"""The players' optimisers and the state of the loop: one step, the record, what a checkpoint holds."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lens.base.draws import Draws, step_seed
from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, write_tensors
from lens.base.versions import git_commit, versions
from lens.images.batching import Batch
from lens.measuring import pretext
from lens.operations import quality
from lens.players.lens import LearnedLens
from lens.players.players import Players
from lens.players.rivals import Rival
from lens.players.weights import SIDE
from lens.protocols.lookup import key_name
from lens.record.run import Run
from lens.training.coupled import Coupled
from lens.training.step import Losses, Rules, adversarial_step, clamp_straight_through, plain_step, rival_step, steer


class Trainer:
    """The players' optimisers and the state of the loop: everything that a checkpoint holds."""

    def __init__(self, players: Players, total: int) -> None:
        settings = players.settings
        self.players, self.settings, self.total = players, settings, total
        self.fabric, self.ranks = players.fabric, players.ranks
        couples = players.task.couples and self.ranks.world > 1
        self.task = Coupled(players.task, self.ranks) if couples else players.task
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, Any] | None = None
        self.window: list[dict[str, Tensor]] = []
        self.recon_weight = torch.tensor(settings.game.first_recon_weight, device=self.fabric.device)
        extractor, lens = players.extractor, players.lens
        # Fused: one pass over memory. On CPU it walks a gradient in its parameter's strides without asking: autograd
        # gives it those, and whatever else writes a `.grad` must copy into it, not replace it.
        if settings.optimisation.optimizer == "sgd":
            self.extractor_optimizer: torch.optim.Optimizer = torch.optim.SGD(
                extractor.parameters(),
                settings.optimisation.lr,
                momentum=0.9,
                weight_decay=settings.optimisation.weight_decay,
                fused=True,
            )
        else:
            self.extractor_optimizer = torch.optim.AdamW(
                extractor.parameters(),
                settings.optimisation.lr,
                (settings.optimisation.adam_beta1, 0.999),
                weight_decay=settings.optimisation.weight_decay,
                fused=True,
            )
        self.extractor_parameters = [p for p in extractor.parameters() if p.requires_grad]
        self.extractor, self.extractor_optimizer = self.fabric.setup(extractor, self.extractor_optimizer)
        self.lens: nn.Module | None = None
        self.rival = lens if isinstance(lens, Rival) else None
        self.lens_parameters: list[nn.Parameter] = []
        if lens is not None and self.rival is None:
            # With an average of its weights the lens that is measured and kept is another one than the one that moves.
            self.moving = copy.deepcopy(lens) if settings.optimisation.lens_ema else lens
            self.lens_parameters = [p for p in self.moving.parameters() if p.requires_grad]
            self.lens, self.lens_optimizer = self.fabric.setup(
                self.moving,
                torch.optim.Adam(
                    self.moving.parameters(),
                    settings.optimisation.lens_lr,
                    (settings.optimisation.adam_beta1, 0.999),
                    fused=True,
                ),
            )

    # --- one step ----------------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> Losses:
        """Pose the batch, take both players' gradients at the same point, move both."""
        settings, task = self.settings, self.task
        rules = Rules.of(settings)
        rank = self.ranks.rank
        torch.manual_seed(step_seed(settings.optimisation.seed, self.step, f"dropout {rank}" if rank else "dropout"))
        self._set_rates()
        self.extractor.train()
        self.extractor_optimizer.zero_grad()
        lens_moves = self.lens is not None and (self.step + 1) % settings.optimisation.lens_update_every == 0
        if self.lens is not None:
            self.lens.train()
            self.lens_optimizer.zero_grad()
        views, question, _ = self.players.views(batch, training=True)
        if settings.question.shuffle_labels:
            question["target"] = _of_others(question["target"], len(batch.index))
        if self.players.mixing.active:
            assert task.classes is not None
            seed = step_seed(settings.optimisation.seed, self.step, f"mixing {rank}")
            views, question = self.players.mixing.mix(views, question, task.classes, len(batch.index), seed)
        parts = []
        share = 1 / settings.optimisation.grad_accum_steps
        draws_parts = self.players.draws(batch).chunk(settings.optimisation.grad_accum_steps)
        for part in range(settings.optimisation.grad_accum_steps):
            views_part = views.chunk(settings.optimisation.grad_accum_steps)[part]
            question_part = {
                name: value.chunk(settings.optimisation.grad_accum_steps)[part] for name, value in question.items()
            }
            if self.rival is not None:
                changed = self.rival(views_part, question_part, draws_parts[part])
                losses = rival_step(
                    self.extractor, self.extractor_parameters, task, views_part, changed, question_part, rules,
                    self._backward, share,
                )  # fmt: skip
            elif self.lens is None:
                losses = plain_step(
                    self.extractor, self.extractor_parameters, task, views_part, question_part, self._backward, share
                )
            elif not lens_moves:
                with torch.no_grad():
                    changed = clamp_straight_through(self._lens_of(views_part, draws_parts[part])(views_part))
                losses = rival_step(
                    self.extractor, self.extractor_parameters, task, views_part, changed, question_part, rules,
                    self._backward, share,
                )  # fmt: skip
            else:
                losses = adversarial_step(
                    self._lens_of(views_part, draws_parts[part]), self.extractor, self.lens_parameters, self.extractor_parameters, task, views_part,
                    question_part, rules, self.recon_weight, self._backward, share,
                )  # fmt: skip
            parts.append(losses)
        self.norms = {"extractor_gradient": _norm(self.extractor_parameters)}
        self.extractor_optimizer.step()
        if lens_moves:
            self.norms["lens_gradient"] = _norm(self.lens_parameters)
            self.lens_optimizer.step()
            self._average()
        mean = _mean_of(parts)
        if lens_moves and settings.game.steered_psnr is not None:
            assert mean.clamped_mse is not None
            self.recon_weight = steer(
                self.recon_weight, self.ranks.mean(mean.clamped_mse.detach()), settings.game.steered_psnr
            )
        if self.rival is not None:
            assert mean.clamped_mse is not None
            self.rival.steer(self.ranks.mean(mean.clamped_mse))
        self.step += 1
        return mean

    def _lens_of(self, views: Tensor, draws: Draws) -> Callable[[Tensor], Tensor]:
        """The lens that moves, with the noise that it adds to these views."""
        assert self.lens is not None
        assert isinstance(self.moving, LearnedLens)
        return functools.partial(self.lens, noise=self.moving.noise_for(views, draws))

    def _backward(self, loss: Tensor, inputs: list[nn.Parameter], keep: bool) -> None:
        self.fabric.backward(loss, inputs=inputs, retain_graph=keep)

    def _set_rates(self) -> None:
        settings = self.settings
        share = rate_share(self.step, self.total, settings.optimisation.warmup_fraction)
        own = rate_share(
            self.step,
            self.total,
            settings.optimisation.warmup_fraction,
            falls=settings.optimisation.lr_schedule == "cosine",
        )
        for group in self.extractor_optimizer.param_groups:
            group["lr"] = settings.optimisation.lr * own
        if self.lens is not None:
            for group in self.lens_optimizer.param_groups:
                group["lr"] = settings.optimisation.lens_lr * share

    @torch.no_grad()
    def _average(self) -> None:
        """Move the lens that is kept towards the one that moves; over the first moves as a plain average, nearly."""
        kept = self.players.lens
        if kept is self.moving:
            return
        assert kept is not None
        moves = (self.step + 1) // self.settings.optimisation.lens_update_every
        decay = min(self.settings.optimisation.lens_ema, moves / (moves + 9))
        for mine, theirs in zip(kept.state_dict().values(), self.moving.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)

    # --- the record --------------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Count training time from here: evaluations and checkpoints are left out of it."""
        self.clock = time.monotonic()

    def remember(self, losses: Losses) -> None:
        """Keep this step's losses and gradient norms on the device until they are logged."""
        self.window.append(losses.parts() | self.norms)

    def log(self, run: Run) -> str:
        """Write the means since the last line; stop the run where a loss is not finite. Returns a note for the bar."""
        if not self.window:
            return ""
        names = list(dict.fromkeys(name for entry in self.window for name in entry))
        # A step at which the lens does not move has no losses of it.
        nothing = torch.full((), math.nan, device=self.fabric.device)
        values = (
            torch.stack([torch.stack([entry.get(name, nothing).float() for name in names]) for entry in self.window])
            .double().cpu()
        )  # fmt: skip
        had = torch.tensor([[name in entry for name in names] for entry in self.window])
        values = torch.stack(self.ranks.everyone(values)).mean(dim=0)
        # Reading the values waited for the device, so the clock is right on a GPU too.
        self.seconds += time.monotonic() - self.clock
        self.start_clock()
        bad = (had & ~torch.isfinite(values)).any(dim=1).nonzero()
        if len(bad):
            row = int(bad[0])
            shown = ", ".join(
                f"{name} {value:.4g}"
                for name, value, there in zip(names, values[row].tolist(), had[row], strict=True)
                if there
            )
            saved = run.last_checkpoint_path()
            raise NotFiniteError(
                f"step {self.step - len(self.window) + row + 1} is not finite ({shown}); last good checkpoint: "
                f"{saved or 'none yet'}; try a lower --lr or --lens_lr, a larger --recon_weight, or --precision 32"
            )
        line: dict[str, Any] = {"kind": "train", "step": self.step, "steps_averaged": len(values)}
        line |= dict(zip(names, values.nanmean(dim=0).tolist(), strict=True))
        if self.lens is not None:
            line["recon_weight"] = float(self.recon_weight)
        if self.rival is not None:
            line["strength"] = float(self.rival.strength)
        if "clamped_mse" in line:
            line["psnr"] = quality.psnr(max(line["clamped_mse"], 1e-12))
        line["lr"] = self.extractor_optimizer.param_groups[0]["lr"]
        line["images_per_second"] = self.step * self.settings.optimisation.batch_size / max(self.seconds, 1e-9)
        run.log(line)
        self.window.clear()
        psnr = f", PSNR {line['psnr']:.1f} dB" if "psnr" in line else ""
        return f"loss {line['extractor']:.3f}{psnr}"

    def evaluate(self, run: Run) -> None:
        """Ask the task about held-out validation images; keep the weights that do best on clean ones.

        The line's `psnr` is over every view at 8 bits, as in summary.json; its `mse` over every view before rounding, as
        in training: what a rival is held to (`rival_target.target_mse`).
        """
        self.players.share_statistics()
        if self.players.lensed_statistics_only:
            self.players.reestimate_statistics(self.players.extractor)
        index = self.players.held_out("val")
        result = pretext.measured(self.players, index, with_ssim=False)
        line: dict[str, Any] = {"kind": "val", "step": self.step}
        line |= {kind: result.mean(score, result.count) for kind, score in result.score.items()}
        if self.players.lens is not None:
            line["psnr"] = quality.psnr(float(result.squared_error.sum() / (len(index) * result.views)))
            line["mse"] = float(result.change.sum() / (len(index) * result.views))
        run.log(line)
        better = line["clean"] if result.chance is not None else -line["clean"]
        if self.best is None or better > self.best["score"]:
            self.best = {"score": better, "step": self.step}
            if self.ranks.writes:
                self.save_weights(run.folder("best"))

    # --- what is kept ------------------------------------------------------------------------------------------------

    def save(self, run: Run) -> None:
        """Write a checkpoint: both players, both optimisers, λ; nothing else is needed to continue bit by bit."""
        self.players.share_statistics()
        tensors = {f"extractor.{name}": value for name, value in self.players.extractor.state_dict().items()}
        tensors |= _optimizer_tensors("extractor_optimizer", self.extractor_optimizer)
        if self.players.lens is not None:
            tensors |= {f"lens.{name}": value for name, value in self.players.lens.state_dict().items()}
        if self.lens is not None:
            tensors |= _optimizer_tensors("lens_optimizer", self.lens_optimizer)
            if self.moving is not self.players.lens:
                tensors |= {f"moving_lens.{name}": value for name, value in self.moving.state_dict().items()}
        tensors["recon_weight"] = self.recon_weight
        state = {"seconds": self.seconds, "best": self.best}
        if self.rival is not None:
            state["target_mse"] = self.rival.target_mse
        if (side := self.lens_side) is not None:
            state["lens_side"] = side
        run.save_checkpoint(self.step, tensors, state)

    def restore(self, run: Run) -> None:
        """Continue from the last checkpoint, or from the start where there is none; cut later lines of the record."""
        saved = run.last_checkpoint(self._largest(), self._refuse_unfit)
        if saved is not None:
            tensors, state = saved
            if state["step"] > self.total:
                raise BadInput(
                    f"{run.directory} has already trained {state['step']} steps, more than the {self.total} asked for"
                )
            self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
            self.players.extractor.load_state_dict(_below("extractor.", tensors))
            _load_optimizer(self.extractor_optimizer, _below("extractor_optimizer.", tensors))
            if self.players.lens is not None:
                self.players.lens.load_state_dict(_below("lens.", tensors))
            if self.lens is not None:
                for lens in (self.players.lens, self.moving):
                    assert isinstance(lens, LearnedLens)
                    # The file of the weights that it began with may be another by now, and tell of another size.
                    lens.side = state.get("lens_side", lens.side)
                _load_optimizer(self.lens_optimizer, _below("lens_optimizer.", tensors))
                if self.moving is not self.players.lens:
                    self.moving.load_state_dict(_below("moving_lens.", tensors))
            self.recon_weight = tensors["recon_weight"].to(self.fabric.device)
        run.cut_metrics(self.step)

    def _largest(self) -> int:
        """Bytes that a checkpoint of these players has at most: weights, two moments, an average, all in double precision."""
        players = [*self.players.extractor.state_dict().values()]
        players += self.players.lens.state_dict().values() if self.players.lens is not None else []
        numbers: int = sum(x.numel() for x in players)
        return 4 * 8 * numbers + 64 * MEBIBYTE

    def _refuse_unfit(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Raise ValueError, with its name, for a tensor that is missing, unknown, of another shape or not finite.

        An optimiser that has moved has every moment of every parameter: one that is missing would start again in silence.
        """
        step = state["step"]
        needed = {f"extractor.{name}": x.shape for name, x in self.players.extractor.state_dict().items()}
        needed |= _moments("extractor_optimizer", self.extractor_optimizer) if step else {}
        if self.players.lens is not None:
            needed |= {f"lens.{name}": x.shape for name, x in self.players.lens.state_dict().items()}
        if self.lens is not None:
            needed |= (
                _moments("lens_optimizer", self.lens_optimizer)
                if step >= self.settings.optimisation.lens_update_every
                else {}
            )
            if self.moving is not self.players.lens:
                needed |= {f"moving_lens.{name}": x.shape for name, x in self.moving.state_dict().items()}
        needed["recon_weight"] = self.recon_weight.shape
        for name in sorted(needed.keys() | tensors.keys()):
            if name not in tensors or name not in needed:
                raise ValueError(f"its tensor {name} is {'missing' if name in needed else 'of another network'}")
            if tensors[name].shape != needed[name]:
                raise ValueError(f"its tensor {name} is {[*tensors[name].shape]} and must be {[*needed[name]]}")
            if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
                raise ValueError(f"its tensor {name} holds what is no finite number")

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

    def summary(self, run: Run) -> dict[str, Any]:
        """What was run and how fast, for summary.json."""
        settings = self.settings
        images_seen = self.step * settings.optimisation.batch_size
        commands = run.commands()
        return {
            "task": key_name(settings.question.task),
            "data": "+".join(settings.data.sources),
            "shortcut": key_name(settings.question.shortcut),
            "shortcut_key": settings.question.shortcut_key if self.players.shortcut.plants else None,
            "lens": key_name(settings.players.lens),
            "objective": settings.game.objective,
            "shuffle_labels": settings.question.shuffle_labels,
            "recon_weight": float(self.recon_weight) if self.lens is not None else None,
            "match": self._match(run),
            "seed": settings.optimisation.seed,
            "steps": self.step,
            "images_seen": images_seen,
            "seconds": self.seconds,
            "images_per_second": images_seen / max(self.seconds, 1e-9),
            "ranks": self.ranks.world,
            "sync_batchnorm": settings.optimisation.sync_batchnorm if self.ranks.world > 1 else None,
            "skipped_images": len(self.players.images.skipped),
            "best": self.best,
            "versions": versions(),
            "git_commit": git_commit(),
            "command": " && ".join(commands),
            "resumed": len(commands) - 1,
        }

    def _match(self, run: Run) -> dict[str, Any] | None:
        """How closely a rival's change on validation images meets its target."""
        if self.rival is None:
            return None
        mse = [line["mse"] for line in run.metrics() if line["kind"] == "val"][-1]
        return {
            "to": self.settings.game.match_mse,
            "target_mse": self.rival.target_mse,
            "validation_mse": mse,
            "ratio": mse / self.rival.target_mse,
            "strength": float(self.rival.strength),
        }


class NotFiniteError(BadInput):
    """A loss that is not a finite number."""


def rate_share(step: int, total: int, warmup: float, falls: bool = True) -> float:
    """The share of the peak rate at a step: a linear rise over the first `warmup` of the run, then a cosine to zero.

    A rate that does not fall stays at its peak.
    """
    rising = round(total * warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(total - rising, 1))) if falls else 1.0


def _of_others(target: Tensor, images: int) -> Tensor:
    """Each row's answer (E, …) replaced by that of a random row of another image of the batch: it knows nothing of its own."""
    rows = len(target) // images
    own = torch.arange(images).repeat_interleave(rows)
    other = (own + torch.randint(1, images, own.shape)) % images
    return target[(other * rows + torch.randint(rows, own.shape)).to(target.device)]


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _mean_of(parts: list[Losses]) -> Losses:
    """The mean of the losses of a batch's parts, which are of equal size."""
    names = parts[0].parts()
    return Losses(**{name: torch.stack([part.parts()[name] for part in parts]).mean() for name in names})


def _moments(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, torch.Size]:
    """The shapes of what an optimiser keeps of each parameter that it moves, by the names that a checkpoint gives them."""
    kept = ("momentum_buffer",) if "momentum" in optimizer.defaults else ("step", "exp_avg", "exp_avg_sq")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        f"{prefix}.{i}.{name}": torch.Size() if name == "step" else parameter.shape
        for i, parameter in enumerate(parameters)
        for name in kept
        if parameter.requires_grad
    }


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{i}.{name}": value
        for i, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, entry in optimizer.state.items():
        for name, value in entry.items():
            if value.shape == parameter.shape:  # a moment: in its parameter's memory format, as before the save
                entry[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
