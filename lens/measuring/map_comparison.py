"""The mean edit maps of several finished runs, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from lens.base.terminal import say
from lens.measuring import edit_maps
from lens.players.finished import FinishedRun
from lens.record import edits_file
from lens.record.run import Run
from lens.results.compared import Compared
from lens.results.maps import Mapped, Maps

Array = np.ndarray[Any, Any]
ABOUT_MAPS = (
    "Each map is the mean over held-out images of the squared edit in each pixel, at 8 bits, without noise of the lens's "
    "own. The correlation describes "
    "the maps: two lenses may edit the same places for different reasons, and an edited place is no proof of a shortcut."
)


def compared(
    runs: list[Run], about: list[Compared], argv: list[str], changed: dict[str, Any]
) -> tuple[Maps, dict[str, Array]]:
    """The mean edit maps of runs, of any sizes and data (Minderer et al. 2020, section 5 and figure 3).

    Returns the figures and the arrays: for run i `map_i` (H, W), `mean_image_i` (H, W, C) and an example, `original_i` and
    `lensed_i` (H, W, C) uint8; `about` is what is said of each run. A run that keeps its edits is read and runs no code; another is brought back and asked.
    """
    arrays: dict[str, Array] = {}
    entries: list[Mapped] = []
    for number, (run, entry) in enumerate(zip(runs, about, strict=True)):
        found = edits_of(run, argv, changed)
        mean_edit = found["map"]
        parts = {"map": mean_edit, "mean_image": found["mean_image"]}
        parts |= {name: found[name][0] for name in ("original", "lensed")}
        arrays |= {f"{name}_{number}": values for name, values in parts.items()}
        entries.append(
            Mapped(
                **vars(entry),
                map_images=int(found["map_images"]),
                size=list(mean_edit.shape),
                map_95th_percentile=edit_maps.clip(mean_edit),
                strongest_5_percent=edit_maps.top_share(mean_edit),
            )
        )
    every = [arrays[f"map_{number}"] for number in range(len(runs))]
    # Always the earlier run first: the two orders of a pair round differently.
    pairs = [[sorted((n, m)) for m in range(len(every))] for n in range(len(every))]
    correlation = [[edit_maps.rank_correlation(every[n], every[m]) for n, m in row] for row in pairs]
    notes = [ABOUT_MAPS]
    if len({mean_edit.shape for mean_edit in every}) > 1:
        notes.append("Maps of different sizes are averaged over areas to the smaller one before they are correlated.")
    return Maps(runs=entries, rank_correlation=correlation, notes=notes), arrays


def keeps_edits(run: Run) -> bool:
    """Whether a run's edits lie in its directory, so that its lens is not asked again."""
    return (run.directory / "figures" / "edits.npz").exists()


def edits_of(run: Run, argv: list[str], changed: dict[str, Any]) -> dict[str, Array]:
    """A run's `figures/edits.npz`, or the same asked of its players where there is none.

    Raises BadInput where the file is damaged.
    """
    if keeps_edits(run):
        return edits_file.load(run.directory)
    from lens.measuring import edits
    from lens.players.fabric import make_fabric

    finished = FinishedRun.of(run, argv, changed)
    say(f"{run.directory} keeps no edits: its lens is asked again")
    return edits.edits_of(finished.restored(make_fabric(finished.parsed.settings.machine)))
