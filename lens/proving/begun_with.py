"""What the weights that a lens began with (--lens_weights) have met of the images that judges are shown: nothing, or no proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lens.base.errors import BadInput
from lens.images.data import Images
from lens.players.begin_from import run_of
from lens.players.players import Players
from lens.record import image_record

MET = {"fresh": ("train", "val"), "val": ("train",), "test": ("train", "val")}
"""The splits of which judges see lensed images, and in which splits of another run their images were met: what a lens was trained
on, or chosen by. Judges are chosen by validation images as well, so that those may have been its own."""
LONGEST = 50
"""Runs, each begun with the weights of the next, that are followed."""


def refuse_met(players: Players) -> None:
    """Raise BadInput where a run whose weights the lens began with has met images that judges would be shown.

    Judges would learn from what the lens was trained on, and understate what is left of others.
    """
    for directory, met in _met_by(players):
        if met:
            shown = len(_shown(players.images))
            raise BadInput(
                f"--lens_weights come from {directory}, whose lens has met {len(met):,} of the {shown:,} images that judges would be "
                f"shown, the first {met[0]!r}: give weights trained on other images, or with the same sources, --seed and "
                "--judge_fraction, or leave --prove out"
            )


def why_unknown(players: Players) -> str | None:
    """Why it cannot be told what images the weights have met, or None where it can, or the lens began with none."""
    for directory, met in _met_by(players):
        if met is None:
            return (
                f"the lens began with weights of which it is not known what images they have met: {directory} records none with "
                "their content"
            )
    return None


def _met_by(players: Players) -> Iterator[tuple[Path, list[str] | None]]:
    """The runs whose weights the lens began with, the last first, and the images that each has met; None: it cannot be told."""
    file = players.settings.players.lens_weights
    for _ in range(LONGEST):
        if not file:
            return
        found = run_of(Path(file))
        if found is None:
            yield Path(file).parent, None
            return
        directory, settings = found
        yield directory, _met(players.images, directory)
        file = settings.get("lens_weights")


def _met(images: Images, directory: Path) -> list[str] | None:
    """The names of images that judges are shown and that a run has met, known by a hash of their content."""
    told = image_record.contents(directory, len(images.splits()))
    if told is None or not images.content:
        return None
    split = images.split.tolist()
    return [images.names[i] for i in _shown(images) if told.get(images.content[i]) in MET[split[i]]]


def _shown(images: Images) -> list[int]:
    return [i for i, split in enumerate(images.split.tolist()) if split in MET]
