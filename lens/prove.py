"""Is the cue really gone? Fresh classifiers judge what a finished run's lens removed, and what it cost."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from lens.base.entry_point import guard
from lens.base.errors import MOST_COUNT, BadInput, check_number
from lens.base.files import json_text
from lens.base.ranks import launched
from lens.base.terminal import say
from lens.players.finished import FinishedRun
from lens.protocols.lookup import names
from lens.record.run import Run
from lens.settings import agreement
from lens.settings.field import as_list, setting
from lens.settings.groups.machine import MOST_THREADS
from lens.settings.groups.proof import MOST_SEEDS
from lens.settings.small_verbs import parse_simple

JUDGES = tuple(name for name in agreement.names({"proof"}) if name != "prove")
"""The settings of a run's proof that may be given anew."""


@dataclasses.dataclass(frozen=True)
class ProveSettings:
    """Settings of a proof; everything else is the run's own."""

    run: str = setting(dataclasses.MISSING, path=True)
    """Run directory."""
    judges: list[str] | str = setting([], was="removal_classifiers")
    """Architectures of the fresh classifiers; default as the run (its extractor's, and all_conv or resnet18)."""
    judge_seeds: int | None = setting(None, was="removal_seeds")
    """Classifiers of each architecture; default as the run (3)."""
    judge_steps: int | None = setting(None, was="removal_steps")
    """Training steps of a fresh classifier, at most; default as the run (2000)."""
    judge_images: int | None = setting(None, was="removal_images")
    """Images of each split that the proof looks at, at most; default as the run (all)."""
    raised_judges: bool | None = None
    """Ask raised judges too, which learn raw images and are led to lensed ones; default as the run (false)."""
    judge_cues: bool | None = None
    """Ask the audit's ladder of cues before and after the lens; default as the run (true)."""
    probe: list[str] | str = setting([], path=True)
    """Labelled sources on which frozen features are probed before and after the lens; default none."""
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
    task: str | None = setting(None, path=True)
    """The task file of the run, named again where the run's task is a file."""
    shortcut: str | None = setting(None, path=True)
    """The shortcut file of the run, named again where the run's shortcut is a file."""
    lens: str | None = setting(None, path=True)
    """The lens file of the run, named again where the run's lens is a file."""

    def __post_init__(self) -> None:
        """Raise BadInput for a value outside its range, and for settings that this proof would not read."""
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        for flag in ("probe_images", *JUDGES):
            if isinstance(value := getattr(self, flag), int) and not isinstance(value, bool):
                check_number(flag, value, low=1, high=MOST_SEEDS if flag == "judge_seeds" else MOST_COUNT)
        if self.probe_images is not None and not as_list(self.probe):
            raise BadInput(
                f"--probe_images {self.probe_images} would be ignored: a probe is fitted only on what --probe names"
            )
        for flag in ("image_column", "label_column"):
            if getattr(self, flag) is not None and all(key in names("source") for key in as_list(self.probe)):
                raise BadInput(
                    f"--{flag} {getattr(self, flag)} would be ignored: no --probe is a table, and the run's own sources keep "
                    "the columns that they have"
                )

    @property
    def changed(self) -> dict[str, Any]:
        """The settings of the run that are given anew."""
        asked = {name: getattr(self, name) for name in ("probe_images", "device", "threads", *JUDGES)}
        return {name: value for name, value in asked.items() if value not in (None, [], "")}


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.prove` and `lens prove`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: prove(arguments))


def prove(argv: list[str]) -> int:
    """Hold the run's directory, read its players, let judges read; write removal.json, print the table, draw the picture."""
    asked = parse_simple(argv, "lens.prove", ProveSettings, "run", "run directory")
    if launched() > 1:
        raise BadInput("lens.prove measures in one process: start it without torchrun")
    with Run.open(Path(asked.run)) as run:
        return judge(asked, run, argv)


def judge(asked: ProveSettings, run: Run, argv: list[str]) -> int:
    """Let fresh classifiers judge what the run's lens removed; write removal.json, print the table, draw the picture."""
    finished = FinishedRun.of(run, argv, asked.changed)
    settings, summary = finished.parsed.settings, finished.summary

    from lens.figures import removal as figures_removal
    from lens.figures import removal_table
    from lens.measuring.probes import load_probes
    from lens.players.fabric import make_fabric
    from lens.proving import proof
    from lens.proving.examples import examples_of

    fabric = make_fabric(settings.machine)
    images = finished.images()
    players = finished.players(images, fabric)
    asks, drawn = as_list(asked.probe), (settings.measuring.probe_images, settings.optimisation.seed)
    probes = load_probes(settings.data, asks, images, asked.image_column, asked.label_column, drawn) if asks else []
    summary = proof.added(summary, proof.removal(players, probes))
    found = summary.removal
    assert found is not None
    pictures = figures_removal.files(found, examples_of(players))
    run.folder("figures")
    written = json_text(found.to_json())
    earlier = run.aside("removal.json", written)
    run.write_files(pictures | earlier | {"removal.json": written, "summary.json": json_text(summary.to_json())})
    removal_table.print_table(found, run.directory / "removal.json")
    kept = "".join(f"; the proof that stood there is kept in {name}" for name in earlier)
    say(f"written to {run.directory / 'removal.json'}{kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
