"""Measure a finished run again (probes on labelled sources, pretext accuracies), or compare several."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from lens.finished import players_of, settings_of, summary_of
from lens.parsing import parse_simple
from lens.protocols import BadInput, check_number
from lens.ranks import launched
from lens.run import Run
from lens.terminal import guard

COMPARED = ("run", "maps", "transfer", "out", "device", "threads", "task", "shortcut")
"""The settings that have a meaning where runs are compared."""


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe; everything else is the run's own."""

    run: list[str]
    """Run directory; several with --maps or --transfer."""
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
    maps: bool = False
    """Compare runs: where their lenses edit, on average, side by side."""
    transfer: bool = False
    """Compare runs: how hard each one's task is on images that each one's lens has edited."""
    out: str | None = None
    """Folder of a comparison; default runs/compare-<time>."""
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
        comparison = " and ".join(flag for flag in ("--maps", "--transfer") if getattr(self, flag[2:]))
        if not comparison:
            if len(self.run) > 1:
                raise BadInput(f"a probe measures one run and {len(self.run)} are given: add --maps or --transfer")
            if self.out is not None:
                raise BadInput("--out is the folder of a comparison: add --maps or --transfer, or drop it")
            return
        for field in dataclasses.fields(self):
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if field.name not in COMPARED and getattr(self, field.name) != default:
                raise BadInput(
                    f"--{field.name} has no meaning with {comparison}, which compares runs: drop one of them"
                )


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.probe` and `lens probe`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: probe(arguments))


def probe(argv: list[str]) -> int:
    """Hold the run's directory against a training, and against other probes, while its weights are measured."""
    asked = parse_simple(argv, "lens.probe", ProbeSettings, "run")
    if launched() > 1:
        raise BadInput("lens.probe measures in one process: start it without torchrun")
    if asked.maps or asked.transfer:
        from lens import compare

        place = compare.Comparison([Path(run) for run in asked.run], asked.out, argv, asked.device, asked.threads)
        return compare.compare(place, asked.maps, asked.transfer)
    with Run.open(Path(asked.run[0])) as run:
        return measure(asked, run, argv)


def measure(asked: ProbeSettings, run: Run, argv: list[str]) -> int:
    """Measure the run's weights on test splits, print the table, add the figures to its summary."""
    summary = summary_of(run)
    changed = {name: getattr(asked, name) for name in ("probe_images", "device", "threads") if getattr(asked, name)}
    parsed = settings_of(run, argv, changed)

    from lens import evaluate, experiment, figures

    settings = parsed.settings
    fabric = experiment.make_fabric(settings)
    images = experiment.training_images(settings)
    keys = [asked.probe] if isinstance(asked.probe, str) else asked.probe
    probes = evaluate.load_probes(settings, keys, images, asked.image_column, asked.label_column)
    if not probes:
        raise BadInput(f"{summary['data']} has no labels to probe with: name a labelled source with --probe")
    players = players_of(run, parsed, summary, images, fabric, asked.weights)
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
