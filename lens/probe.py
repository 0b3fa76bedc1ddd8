"""Measure a finished run again: linear and k-NN probes on labelled sources, pretext accuracies."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from lens.finished import Finished
from lens.parsing import parse_simple
from lens.protocols import BadInput, check_number
from lens.ranks import launched
from lens.run import Run
from lens.terminal import guard


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe; everything else is the run's own."""

    run: str
    """Run directory."""
    probe: list[str] | str = dataclasses.field(default_factory=list)
    """Labelled sources; default: the training sources that have labels."""
    weights: str = "last"
    """last, or best (by validation accuracy on clean images during training)."""
    image_column: str | None = None
    """Column of the probe's images, where a parquet file leaves it open."""
    label_column: str | None = None
    """Column of the probe's labels, where a parquet file leaves it open."""
    probe_images: int | None = None
    """Training images that a probe is fitted on, at most; default as the run."""
    device: str | None = None
    """Device; default as the run."""
    threads: int | None = None
    """CPU threads; default as the run."""
    task: str | None = None
    """The task file of the run, named again where the run's task is a file."""
    shortcut: str | None = None
    """The shortcut file of the run, named again where the run's shortcut is a file."""

    def __post_init__(self) -> None:
        """Raise BadInput for a value outside its range."""
        if self.weights not in ("last", "best"):
            raise BadInput(f"--weights {self.weights!r} is unknown: give last or best")
        for flag in ("probe_images", "threads"):
            if getattr(self, flag) is not None:
                check_number(flag, getattr(self, flag), low=1)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.probe` and `lens probe`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: probe(arguments))


def probe(argv: list[str]) -> int:
    """Hold the run's directory against a training, and against other probes, while its weights are measured."""
    asked = parse_simple(argv, "lens.probe", ProbeSettings, "run")
    if launched() > 1:
        raise BadInput("lens.probe measures in one process: start it without torchrun")
    with Run.open(Path(asked.run)) as run:
        return measure(asked, run, argv)


def measure(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's weights on test splits, print the table, add the figures to its summary."""
    changed = {name: getattr(asked, name) for name in ("probe_images", "device", "threads") if getattr(asked, name)}
    finished = Finished.of(run, argv, changed)
    settings, summary = finished.parsed.settings, finished.summary

    from lens import evaluate, experiment, figures

    fabric = experiment.make_fabric(settings)
    images = experiment.training_images(settings)
    keys = [asked.probe] if isinstance(asked.probe, str) else asked.probe
    probes = evaluate.load_probes(settings, keys, images, asked.image_column, asked.label_column)
    if not probes:
        raise BadInput(f"{summary['data']} has no labels to probe with: name a labelled source with --probe")
    players = finished.players(images, fabric, asked.weights)
    found = evaluate.everything(players, probes)
    if asked.weights == "last":
        downstream = evaluate.merge_downstream(summary["downstream"], found["downstream"])
        run.write_json("summary.json", summary | found | {"downstream": downstream})
        place = run.directory / "summary.json"
    else:
        run.write_json("summary-best.json", summary | found)
        place = run.directory / "summary-best.json"
    figures.print_table(summary | found)
    print(f"written to {place}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
