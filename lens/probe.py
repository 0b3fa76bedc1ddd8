"""Measure a finished run again: probes on labelled sources, pretext accuracies."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens.base.entry_point import guard
from lens.base.errors import MOST_COUNT, BadInput, check_number
from lens.base.files import json_text
from lens.base.ranks import launched
from lens.base.terminal import say
from lens.players.finished import FinishedRun
from lens.protocols.lookup import names, short_names
from lens.record.run import Run
from lens.settings.field import as_list, default_of, setting
from lens.settings.groups.machine import MOST_THREADS
from lens.settings.small_verbs import parse_simple

if TYPE_CHECKING:
    from lens.images.data import Images
    from lens.measuring.probes import Probe

MOVED = {"compare": {"--maps", "--transfer"}, "prove": {"--removal"}}
"""Flags of 0.3 that are verbs of their own now."""


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe; everything else is the run's own."""

    run: list[str] = setting(dataclasses.MISSING, path=True)
    """Run directory."""
    probe: list[str] | str = setting([], path=True)
    """Labelled sources; default: the training sources that have labels."""
    method: Literal["logistic", "sgd", "both"] = setting("logistic")
    """Linear probe: logistic (penalty chosen on validation), sgd (the protocol of Kolesnikov et al. 2019), or both."""
    probe_epochs: int = setting(70)
    """Epochs of the sgd probe; its rate falls at 3/7 and 5/7 of them."""
    layer: list[str] | str = setting([], modes="probe")
    """Inner layers of the extractor to probe too, by timm's names (layer3, stages.2), or all."""
    fuse: str | None = setting(None, modes="fuse", path=True)
    """Another run whose features are put beside this one's: their accuracy together, instead of all other figures."""
    fuse_control: str | None = setting(None, modes="fuse", path=True)
    """A run as the --fuse one with another seed: the two together have as many features and no removal to tell of."""
    weights: str = setting("last", modes="probe")
    """last, or best (by validation accuracy on clean images during training)."""
    image_column: str | None = setting(None)
    """Column of the probe's images, where a parquet file leaves it open."""
    label_column: str | None = setting(None)
    """Column of the probe's labels, where a parquet file leaves it open."""
    probe_images: int | None = setting(None)
    """Training images that a probe is fitted on, at most; default as the run."""
    device: str | None = None
    """Device; default as the run."""
    threads: int | None = None
    """CPU threads; default as the run."""
    task: str | None = setting(None, path=True)
    """The task file of the run, named again where the run's task is a file."""
    shortcut: str | None = setting(None, path=True)
    """The shortcut file of the run, named again where the run's shortcut is a file."""
    lens: str | None = setting(None, path=True)
    """The lens file of the run, named again where the run's lens is a file."""

    def __post_init__(self) -> None:
        """Raise BadInput for a value outside its range."""
        if self.weights not in ("last", "best"):
            raise BadInput(f"--weights {self.weights!r} is unknown: give last or best")
        if self.fuse and not self.fuse_control:
            raise BadInput(
                f"--fuse {self.fuse} needs --fuse_control: two runs together have twice the features, and that alone can "
                f"raise the accuracy; give a run with the settings of {self.fuse} and another seed"
            )
        if self.fuse_control and not self.fuse:
            raise BadInput(f"--fuse_control {self.fuse_control} has no meaning without --fuse")
        check_number("probe_epochs", self.probe_epochs, low=1, high=MOST_COUNT)
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        if self.probe_images is not None:
            check_number("probe_images", self.probe_images, low=1, high=MOST_COUNT)
        self._refuse_other_modes()
        self._refuse_unread()
        if len(self.run) > 1:
            raise BadInput(f"a probe measures one run and {len(self.run)} are given: lens compare takes several")

    def _refuse_other_modes(self) -> None:
        """Raise BadInput for settings of a measurement of one run where another run's features are put beside its own."""
        elsewhere = {
            f"--{field.name}": field for field in dataclasses.fields(self) if field.metadata.get("modes") == "probe"
        }
        given = [flag for flag, field in elsewhere.items() if getattr(self, field.name) != default_of(field)]
        if self.fuse and given:
            raise BadInput(f"--fuse measures the last weights' pooled features: leave {' and '.join(given)} out")

    def _refuse_unread(self) -> None:
        """Raise BadInput for settings that this probe would not read."""
        unread = {}
        tables = [key for key in as_list(self.probe) if key not in names("source")]
        for flag in ("image_column", "label_column"):
            if getattr(self, flag) is not None and not tables:
                unread[flag] = "no --probe is a table, and the run's own sources keep the columns that they have"
        if self.probe_epochs != 70 and self.method == "logistic":
            unread["probe_epochs"] = "it is the sgd probe's: add --method sgd or both"
        for flag, why in unread.items():
            raise BadInput(f"--{flag} {getattr(self, flag)} would be ignored: {why}")

    @property
    def changed(self) -> dict[str, Any]:
        """The settings of the run that are given anew."""
        names = ("probe_images", "device", "threads")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def layers(self) -> list[str]:
        """`layer` as a list."""
        return as_list(self.layer)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.probe` and `lens probe`."""
    arguments = sys.argv[1:] if argv is None else argv
    for verb, flags in MOVED.items():
        if old := {word.partition("=")[0] for word in arguments} & flags:
            say(f"lens probe {' '.join(sorted(old))} is lens {verb} since 0.4; the old name works for one version")
            rest = (
                arguments if verb == "compare" else [word for word in arguments if word.partition("=")[0] not in flags]
            )
            return int(importlib.import_module(f"lens.{verb}").main(rest))
    return guard(lambda: probe(arguments))


def probe(argv: list[str]) -> int:
    """Hold the run's directory against a training, and against other probes, while its weights are measured."""
    asked = parse_simple(argv, "lens.probe", ProbeSettings, "run", "run directory")
    if launched() > 1:
        raise BadInput("lens.probe measures in one process: start it without torchrun")
    with Run.open(Path(asked.run[0])) as run:
        return fuse(asked, run, argv) if asked.fuse else measure(asked, run, argv)


def measure(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's weights on test splits, print the table, add the figures to its summary."""
    finished = FinishedRun.of(run, argv, asked.changed)
    settings, summary = finished.parsed.settings, finished.summary

    from lens.figures import summary_table
    from lens.measuring import evaluate, inner_features, linear, pretext
    from lens.measuring.downstream import merge_downstream, replaced
    from lens.players.fabric import make_fabric

    fabric = make_fabric(settings.machine)
    images, probes = labelled(asked, finished)
    players = finished.players(images, fabric, asked.weights)
    if asked.layers:
        inner_features.choose(players.extractor.backbone, asked.layers, settings.players.extractor)
    found = evaluate.everything(players, probes, linear.ProbeRecipe(asked.method, asked.probe_epochs), asked.layers)
    best = summary.trained.best
    step = summary.trained.steps if asked.weights == "last" else None if best is None else best.step
    now = dataclasses.replace(
        summary,
        pretext=found.pretext,
        reconstruction=found.reconstruction,
        validation=pretext.validation(players, run.metrics(), step),
        downstream=found.downstream,
    )
    place = run.directory / ("summary.json" if asked.weights == "last" else "summary-best.json")
    if asked.weights == "last":
        together = merge_downstream(summary.downstream, found.downstream)
        written = json_text(dataclasses.replace(now, downstream=together).to_json())
        gone = replaced(summary.downstream, found.downstream)
        earlier = run.aside("summary.json", written) if gone else {}
        run.write_files(earlier | {"summary.json": written})
        for name in earlier:
            say(f"figures of {', '.join(gone)} on other numbers of images stood in summary.json: it is kept as {name}")
    else:
        run.write_summary(now, place.name)
    summary_table.print_table(now, place)
    say(f"written to {place}")
    return 0


def labelled(asked: ProbeSettings, finished: FinishedRun) -> tuple[Images, list[Probe]]:
    """The run's images, and what is probed. Raises BadInput where nothing has labels."""
    from lens.measuring.probes import load_probes

    settings = finished.parsed.settings
    images = finished.images()
    drawn = (settings.measuring.probe_images, settings.optimisation.seed)
    probes = load_probes(settings.data, as_list(asked.probe), images, asked.image_column, asked.label_column, drawn)
    if not probes:
        raise BadInput(
            f"{finished.summary.trained.data} has no labels to probe with: name a labelled source with --probe"
        )
    return images, probes


def fuse(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's features beside another's, and the control's beside the same; add the figures to its summary."""
    assert asked.fuse
    assert asked.fuse_control
    with fusion_runs(asked, run) as (other, control):
        first, second, third = tuple(FinishedRun.of(one, argv, asked.changed) for one in (run, other, control))

        from lens.figures import summary_table
        from lens.images.unseen import without_learnt
        from lens.measuring import fusion, linear
        from lens.measuring.downstream import merge_downstream
        from lens.players.fabric import make_fabric

        fusion.check(first, second, third)
        summary = first.summary
        fabric = make_fabric(first.parsed.settings.machine)
        images, probes = labelled(asked, first)
        for one in (second, third):
            trained, where = one.images(), str(one.run.directory)
            probes = [
                dataclasses.replace(probe, images=without_learnt(probe.images, trained, where)) for probe in probes
            ]
        trio = fusion.Trio(*(one.players(images, fabric) for one in (first, second, third)))
        recipe = linear.ProbeRecipe(asked.method, asked.probe_epochs, fabric.device)
        found = {
            name: fusion.measured(trio, probe, recipe, asked.fuse, asked.fuse_control)
            for name, probe in zip(short_names([probe.key for probe in probes]), probes, strict=True)
        }
    run.write_summary(dataclasses.replace(summary, downstream=merge_downstream(summary.downstream, found)))
    summary_table.print_table(dataclasses.replace(summary, downstream=found), run.directory / "summary.json")
    say(f"written to {run.directory / 'summary.json'}")
    return 0


@contextmanager
def fusion_runs(asked: ProbeSettings, run: Run) -> Iterator[tuple[Run, Run]]:
    """Hold the other two runs too. Raises BadInput where two of the three are one."""
    other, control = Run.open(Path(asked.fuse or "")), Run.open(Path(asked.fuse_control or ""))
    if len({one.directory.resolve() for one in (run, other, control)}) < 3:
        raise BadInput(
            f"{run.directory}, --fuse {asked.fuse} and --fuse_control {asked.fuse_control} must be three runs"
        )
    with other, control:
        yield other, control


if __name__ == "__main__":
    sys.exit(main())
