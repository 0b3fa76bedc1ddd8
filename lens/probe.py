"""Measure a finished run again: probes on labelled sources, pretext accuracies."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lens.base.errors import BadInput, check_number
from lens.base.files import json_text, reading
from lens.base.ranks import launched
from lens.base.terminal import guard, say
from lens.players.finished import Finished
from lens.protocols.lookup import names, short_names
from lens.record.run import Run
from lens.settings import agreement
from lens.settings.groups import MOST_THREADS, as_list, default_of, setting
from lens.settings.parsing import parse_simple

if TYPE_CHECKING:
    from lens.images.data import Images
    from lens.measuring.probes import Probe

MODES = {
    "fuse": "--fuse measures the last weights' pooled features",
    "removal": "--removal measures the last weights' lens by classifiers of its own",
}
"""What the verb does where it does not simply measure a run (probe): a setting has `modes`."""
PROOF = tuple(name for name in agreement.names({"proof"}) if name != "removal")
"""The settings of a run's proof that may be given anew."""


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe; everything else is the run's own."""

    run: list[str] = setting(dataclasses.MISSING, path=True)
    """Run directory."""
    probe: list[str] | str = setting([], modes="probe fuse removal", path=True)
    """Labelled sources; default: the training sources that have labels (with --removal: none)."""
    method: Literal["logistic", "sgd", "both"] = setting("logistic", modes="probe fuse")
    """Linear probe: logistic (penalty chosen on validation), sgd (the protocol of Kolesnikov et al. 2019), or both."""
    probe_epochs: int = setting(70, modes="probe fuse")
    """Epochs of the sgd probe; its rate falls at 3/7 and 5/7 of them."""
    layer: list[str] | str = setting([], modes="probe")
    """Inner layers of the extractor to probe too, by timm's names (layer3, stages.2), or all."""
    fuse: str | None = setting(None, modes="fuse", path=True)
    """Another run whose features are put beside this one's: their accuracy together, instead of all other figures."""
    fuse_control: str | None = setting(None, modes="fuse", path=True)
    """A run as the --fuse one with another seed: the two together have as many features and no removal to tell of."""
    weights: str = setting("last", modes="probe")
    """last, or best (by validation accuracy on clean images during training)."""
    image_column: str | None = setting(None, modes="probe fuse removal")
    """Column of the probe's images, where a parquet file leaves it open."""
    label_column: str | None = setting(None, modes="probe fuse removal")
    """Column of the probe's labels, where a parquet file leaves it open."""
    probe_images: int | None = setting(None, modes="probe fuse removal")
    """Training images that a probe is fitted on, at most; default as the run."""
    device: str | None = None
    """Device; default as the run."""
    threads: int | None = None
    """CPU threads; default as the run."""
    removal: bool = setting(False, modes="removal")
    """Prove the removal: fresh classifiers try to tell the sources apart on raw and on lensed images (removal.json)."""
    removal_classifiers: list[str] | str = setting([], modes="removal")
    """Architectures of the fresh classifiers; default as the run (its extractor's, and all_conv or resnet18)."""
    removal_seeds: int | None = setting(None, modes="removal")
    """Classifiers of each architecture; default as the run (3)."""
    removal_steps: int | None = setting(None, modes="removal")
    """Training steps of a fresh classifier, at most; default as the run (2000)."""
    removal_images: int | None = setting(None, modes="removal")
    """Images of each split that the proof looks at, at most; default as the run (all)."""
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
        check_number("probe_epochs", self.probe_epochs, low=1)
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        for flag in ("probe_images", *PROOF):
            if isinstance(value := getattr(self, flag), int):
                check_number(flag, value, low=1)
        self._refuse_other_modes()
        self._refuse_unread()
        if len(self.run) > 1:
            raise BadInput(f"a probe measures one run and {len(self.run)} are given: lens compare takes several")

    @property
    def mode(self) -> str:
        """What is asked for: "probe", "fuse" or "removal"."""
        return "removal" if self.removal else "fuse" if self.fuse else "probe"

    def _refuse_other_modes(self) -> None:
        """Raise BadInput for settings that belong to something else than what is asked for."""
        elsewhere = {
            f"--{field.name}": modes
            for field in dataclasses.fields(self)
            if (modes := field.metadata.get("modes")) and self.mode not in modes.split()
            if getattr(self, field.name) != default_of(field)
        }
        if not elsewhere:
            return
        first, of = next(iter(elsewhere.items()))
        if self.mode == "probe":
            raise BadInput(f"{first} has no meaning without --{of}")
        raise BadInput(f"{MODES[self.mode]}: leave {' and '.join(elsewhere)} out")

    def _refuse_unread(self) -> None:
        """Raise BadInput for settings that this probe would not read."""
        unread = {}
        tables = [key for key in as_list(self.probe) if key not in names("source")]
        for flag in ("image_column", "label_column"):
            if getattr(self, flag) is not None and not tables:
                unread[flag] = "no --probe is a table, and the run's own sources keep the columns that they have"
        if self.probe_images is not None and self.removal and not as_list(self.probe):
            unread["probe_images"] = "--removal fits a probe only on what --probe names"
        if self.probe_epochs != 70 and self.method == "logistic" and not self.removal:
            unread["probe_epochs"] = "it is the sgd probe's: add --method sgd or both"
        for flag, why in unread.items():
            raise BadInput(f"--{flag} {getattr(self, flag)} would be ignored: {why}")

    @property
    def changed(self) -> dict[str, Any]:
        """The settings of the run that are given anew."""
        names = ("probe_images", "device", "threads", *PROOF)
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def layers(self) -> list[str]:
        """`layer` as a list."""
        return as_list(self.layer)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.probe` and `lens probe`."""
    arguments = sys.argv[1:] if argv is None else argv
    if old := {word.partition("=")[0] for word in arguments} & {"--maps", "--transfer"}:
        say(
            f"lens probe {' '.join(sorted(old))} is lens compare {' '.join(sorted(old))} since 0.4; the old name works for one version"
        )
        return int(importlib.import_module("lens.compare").main(arguments))
    return guard(lambda: probe(arguments))


def probe(argv: list[str]) -> int:
    """Hold the run's directory against a training, and against other probes, while its weights are measured."""
    asked = parse_simple(argv, "lens.probe", ProbeSettings, "run", "run directory")
    if launched() > 1:
        raise BadInput("lens.probe measures in one process: start it without torchrun")
    with Run.open(Path(asked.run[0])) as run:
        if asked.removal:
            return prove(asked, run, argv)
        return fuse(asked, run, argv) if asked.fuse else measure(asked, run, argv)


def opened(asked: ProbeSettings, run: Run, argv: list[str]) -> Finished:
    """The finished run. Raises BadInput where its summary cannot be shown: that is told now, not after all that is measured."""
    finished = Finished.of(run, argv, asked.changed)
    from lens.figures import summary_table

    with reading(run.directory / "summary.json", f"delete it, then measure again with --resume {run.directory}"):
        summary_table.table(finished.summary)
    return finished


def measure(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's weights on test splits, print the table, add the figures to its summary."""
    finished = opened(asked, run, argv)
    settings, summary = finished.parsed.settings, finished.summary

    from lens.figures import summary_table
    from lens.measuring import evaluate, inner_features, linear, pretext
    from lens.measuring.downstream import merge_downstream
    from lens.players import experiment

    fabric = experiment.make_fabric(settings)
    images, probes = labelled(asked, finished)
    players = finished.players(images, fabric, asked.weights)
    if asked.layers:
        inner_features.choose(players.extractor.backbone, asked.layers, settings.extractor)
    found = evaluate.everything(players, probes, linear.ProbeRecipe(asked.method, asked.probe_epochs), asked.layers)
    step = summary["steps"] if asked.weights == "last" else (summary.get("best") or {}).get("step")
    found["validation"] = pretext.validation(players, run.metrics(), step)
    if asked.weights == "last":
        downstream = merge_downstream(summary["downstream"], found["downstream"])
        run.write_json("summary.json", summary | found | {"downstream": downstream})
        place = run.directory / "summary.json"
    else:
        run.write_json("summary-best.json", summary | found)
        place = run.directory / "summary-best.json"
    summary_table.print_table(summary | found, place)
    say(f"written to {place}")
    return 0


def prove(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Let fresh classifiers judge what the run's lens removed; write removal.json, print the table, draw the picture."""
    finished = opened(asked, run, argv)
    settings, summary = finished.parsed.settings, finished.summary

    from lens.figures import removal as figures_removal
    from lens.measuring.probes import load_probes
    from lens.players import experiment
    from lens.proving import proof
    from lens.proving.examples import examples_of

    fabric = experiment.make_fabric(settings)
    images = finished.images()
    players = finished.players(images, fabric)
    asks = as_list(asked.probe)
    probes = load_probes(settings, asks, images, asked.image_column, asked.label_column) if asks else []
    summary = proof.added(summary, proof.removal(players, probes))
    found = summary["removal"]
    pictures = figures_removal.files(found, examples_of(players))
    run.folder("figures")
    run.write_files(pictures | {"removal.json": json_text(found), "summary.json": json_text(summary)})
    figures_removal.print_table(found, run.directory / "removal.json")
    say(f"written to {run.directory / 'removal.json'}")
    return 0


def labelled(asked: ProbeSettings, finished: Finished) -> tuple[Images, list[Probe]]:
    """The run's images, and what is probed. Raises BadInput where nothing has labels."""
    from lens.measuring.probes import load_probes

    settings = finished.parsed.settings
    images = finished.images()
    probes = load_probes(settings, as_list(asked.probe), images, asked.image_column, asked.label_column)
    if not probes:
        raise BadInput(f"{finished.summary['data']} has no labels to probe with: name a labelled source with --probe")
    return images, probes


def fuse(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's features beside another's, and the control's beside the same; add the figures to its summary."""
    assert asked.fuse
    assert asked.fuse_control
    with fusion_runs(asked, run) as (other, control):
        first, second, third = (opened(asked, one, argv) for one in (run, other, control))

        from lens.figures import summary_table
        from lens.images.unseen import without_learnt
        from lens.measuring import fusion, linear
        from lens.measuring.downstream import merge_downstream
        from lens.players import experiment

        fusion.check(first, second, third)
        summary = first.summary
        fabric = experiment.make_fabric(first.parsed.settings)
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
    downstream = merge_downstream(summary["downstream"], found)
    run.write_json("summary.json", summary | {"downstream": downstream})
    summary_table.print_table(summary | {"downstream": found}, run.directory / "summary.json")
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
