"""Train a lens against an extractor on a pretext task, then measure what it removed and what it cost."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.base.bar import Bar
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.files import json_text
from lens.base.lost_ranks import lost_ranks_told_in_one_line
from lens.base.phases import BEGAN, Phases
from lens.base.ranks import Ranks, launched
from lens.base.stopping import stop_signals
from lens.base.terminal import say, say_lines
from lens.protocols.lookup import key_name
from lens.record.mirror import Mirror
from lens.record.run import Run
from lens.results.summary import Summary
from lens.settings import agreement
from lens.settings.arguments import path_of, value_of
from lens.settings.parsing import Parsed, parse
from lens.settings.run_settings import Settings
from lens.settings.stored import differing, of_this_version, refuse_foreign_code

if TYPE_CHECKING:
    from lens.measuring.evaluate import Measured
    from lens.training.trainer import Trainer

DEFAULT_STEPS = 150


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.train` and `lens train`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: start(arguments))


def start(argv: list[str]) -> int:
    """Read the settings, open or plan the run directory, train."""
    resume = path_of("--resume", argv)
    if resume is None:
        parsed = parse(argv, "lens.train")
        if launched() > 1 and not parsed.settings.record.out:
            raise BadInput("torchrun needs --out: every process must know the same run directory")
        if parsed.settings.record.resume:
            raise BadInput("resume stands in a --config file: give it on the command line, --resume DIR")
        name = f"{key_name(parsed.settings.question.task)}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
        directory = Path(parsed.settings.record.out or Path("runs") / name)
        with Run.plan(directory) as run, lost_ranks_told_in_one_line(directory):
            return train(parsed, run, argv)
    if value_of("--out", argv) is not None:
        raise BadInput(
            f"--out has no meaning with --resume: the run goes on in {resume}; copy that directory to branch it"
        )
    run = Run.open(Path(resume))
    stored = run.settings()
    refuse_foreign_code(stored, argv, run.directory)
    run.refuse_changed_plugins(stored)
    stored = of_this_version(stored, run.origin()["lens"], run.directory)
    base = dict(stored)
    for given, other in (("--steps", "epochs"), ("--epochs", "steps")):
        if value_of(given, argv) is not None:
            base[other] = None
    parsed = parse(argv, "lens.train", base, where=f"{run.directory}/settings.yaml")
    if changed := differing(stored, parsed.plain):
        key = changed[0]
        raise BadInput(
            f"--resume {resume}: {key} was {stored.get(key)!r} and is now {parsed.plain.get(key)!r}; only "
            f"{', '.join(agreement.may_change())} may differ: start a new run with another --out"
        )
    with run, lost_ranks_told_in_one_line(run.directory):
        return train(parsed, run, argv)


def train(parsed: Parsed, run: Run, argv: list[str]) -> int:
    """The whole story: data, players, loop, measurement. Returns the process's exit code."""
    import torch

    from lens.figures import removal as figures_removal
    from lens.figures import removal_table, summary_table
    from lens.images import batching
    from lens.images.training_set import training_images
    from lens.measuring import evaluate
    from lens.measuring.edits import Edits
    from lens.measuring.probes import load_probes
    from lens.players import grey_sources
    from lens.players.build import build
    from lens.players.fabric import make_fabric, refuse_unequal_parts
    from lens.proving import proof
    from lens.proving.examples import examples_of
    from lens.training import checkpoint
    from lens.training.rehearsal import rehearse
    from lens.training.trainer import Trainer

    settings, phases = parsed.settings, Phases()
    phases.seconds["starting"] = time.monotonic() - BEGAN
    Mirror.check(settings.record.wandb)
    command = "python -m lens.train " + shlex.join(argv)
    resumed = run.exists()
    run.refuse_lost_checkpoint()
    refuse_unequal_parts(settings.optimisation)
    fabric = make_fabric(settings.machine)
    ranks = Ranks(fabric)
    with phases.timed("reading images"), ranks.first_on_each_node():
        images = training_images(settings)
        preferred = parsed.plugins["task"].defaults.get("steps", DEFAULT_STEPS)
        total = total_steps(settings, batching.steps_per_epoch(images, settings.optimisation.batch_size), preferred)
        drawn = (settings.measuring.probe_images, settings.optimisation.seed)
        probes = load_probes(settings.data, settings.measuring.probes, images, drawn=drawn)
    splits = images.splits()
    # Two machines' copies may differ in their times.
    shared = images.splits(stamps=False) if images.stamps else splits
    ranks.agree(hashlib.sha256(shared).hexdigest(), "images")
    with phases.timed("building"):
        saved = run.last_checkpoint_path() is not None
        players = build(parsed, images, fabric, ranks, run.rival_mse(), weights_follow=saved)
        if settings.proof.prove:
            proof.check(players)
        rehearse(players)
        if ranks.writes:
            grey_sources.tell(players)
        trainer = Trainer(players, total)
        with ranks.all_or_none():
            prepare(run, parsed, trainer, splits, command, resumed)
    say(f"run directory: {run.directory}")
    say_lines(images.describe())

    with Bar("training", total, "steps", trainer.step) as bar, stop_signals() as stops:
        trainer.start_clock()
        for batch in batching.training_batches(
            images, settings.optimisation.batch_size, settings.optimisation.seed, trainer.step, total, settings.machine.num_workers, ranks.rank, ranks.world,
            balanced=players.by_source,
        ):  # fmt: skip
            losses = trainer.train_step(batch.to(fabric.device))
            trainer.remember(losses)
            to_evaluate = trainer.step == total or trainer.step % settings.record.val_every == 0
            to_save = trainer.step == total or trainer.step % settings.record.checkpoint_every == 0
            if to_evaluate or to_save or trainer.step % settings.record.log_every == 0:
                bar.advance(trainer.step, trainer.log(run))
            if to_evaluate:
                with phases.timed("validating"):
                    trainer.evaluate(run)
            # A signal can come at any moment, and to one rank before another: what is decided here is what all do.
            stopping = ranks.any(bool(stops))
            if to_save or stopping:
                trainer.log(run)
                with phases.timed("saving"):
                    checkpoint.save(trainer, run)
            if to_evaluate or to_save:
                trainer.start_clock()
            if stopping:
                break
    if ranks.any(bool(stops)):
        say(
            f"stopped by a signal; step {trainer.step} is saved. Continue with: python -m lens.train --resume {run.directory}"
        )
        return 128 + (stops or [signal.SIGTERM])[0]

    try:
        phases.seconds["training"] = trainer.seconds
        players.share_statistics()
        if players.lensed_statistics_only:
            players.reestimate_statistics(players.extractor)
        if ranks.writes:
            run.refuse_moved()
            trainer.save_weights(run.directory)
        edits = Edits(players, players.held_out("test")) if players.lens is not None else None
        measured = evaluate.everything(players, probes, edits=edits, phases=phases)
        pictured = edits.arrays() if edits is not None else None
        if ranks.writes:
            with phases.timed("drawing"):
                summary = summarise(trainer, run, measured, pictured)
            if settings.proof.prove:
                with phases.timed("proving"):
                    found = proof.removal(players, probes if settings.measuring.probe else [])
                    summary = proof.added(summary, found)
                    assert summary.removal is not None
                    written = json_text(summary.removal.to_json())
                    earlier = run.aside("removal.json", written)
                    run.write_files(earlier | {"removal.json": written})
                    for name in earlier:
                        say(f"the proof that stood in removal.json is kept in {name}")
            told = {name: round(seconds, 2) for name, seconds in phases.seconds.items()}
            summary = dataclasses.replace(summary, phases=told)
            run.write_summary(summary)  # last of all: it says that the run is finished
        ranks.wait()
    except KeyboardInterrupt:
        say(
            f"interrupted while measuring; the training is saved. Measure with: python -m lens.train --resume {run.directory}"
        )
        return 130
    if ranks.writes:
        summary_table.print_table(summary, run.directory / "summary.json")
        if missed := trainer.missed_target(summary.reconstruction):
            say(missed)
        if summary.removal is not None and settings.proof.prove:
            run.write_files(figures_removal.files(summary.removal, examples_of(players)))
            removal_table.print_table(summary.removal, run.directory / "removal.json")
        run.mirror_results(summary)
    say(f"pictures: {run.directory / 'figures'}")
    if fabric.device.type == "cuda":
        say(f"peak GPU memory: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
    return 0


def total_steps(settings: Settings, steps_per_epoch: int, otherwise: int = DEFAULT_STEPS) -> int:
    """--steps, or as many as --epochs need, or the task's own number, or the default."""
    if settings.optimisation.epochs is not None:
        return max(1, round(settings.optimisation.epochs * steps_per_epoch))
    return settings.optimisation.steps or otherwise


def prepare(run: Run, parsed: Parsed, trainer: Trainer, splits: bytes, command: str, resumed: bool) -> None:
    """Make the run directory, or take up the run that is in it."""
    from lens.training import checkpoint

    images = trainer.players.images
    skipped = [vars(entry) for entry in images.skipped]
    if not resumed:
        run.create(parsed.plain, command)
        run.record_images(splits, skipped, images.duplicates)
    else:
        run.record_images(splits, skipped, images.duplicates)
        checkpoint.restore(trainer, run)
        run.update_settings(parsed.plain)
        run.record_command(command)
        if trainer.step < trainer.total:
            run.forget_summary()
    run.start_mirror(parsed.plain)


def summarise(trainer: Trainer, run: Run, measured: Measured, edits: dict[str, Any] | None) -> Summary:
    """Draw the pictures of a finished run; its summary, with what `lens probe` has measured of these very weights."""
    from lens.figures import drawing
    from lens.figures import run as figures
    from lens.measuring import pretext
    from lens.measuring.downstream import merge_downstream

    earlier = run.summary()
    summary = Summary(
        trained=trainer.trained(run),
        match=trainer.match(run),
        pretext=measured.pretext,
        reconstruction=measured.reconstruction,
        validation=pretext.validation(trainer.players, run.metrics(), trainer.step),
        downstream=merge_downstream(earlier.downstream if earlier else {}, measured.downstream),
        removal=earlier.removal if earlier else None,
    )
    folder = run.folder("figures")
    if edits is not None:
        drawing.save_numbers(folder / "edits.npz", edits)
    figures.draw(run.directory, run.metrics())
    return summary


if __name__ == "__main__":
    sys.exit(main())
