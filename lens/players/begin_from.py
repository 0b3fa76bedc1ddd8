"""A lens that begins from the weights of another run, and what is said where that run's lens was another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lens.base import yaml_text
from lens.base.errors import BadInput
from lens.base.files import reading
from lens.base.terminal import say
from lens.players import weights
from lens.players.lens import LearnedLens
from lens.settings.groups.data import LARGEST_SIDE


def begin_from(lens: LearnedLens, file: str, image_size: int, read: bool = True) -> None:
    """Give a lens the weights of a safetensors file (--lens_weights), and the side at which that one was trained.

    Its settings are read from the run that the file lies in, and a line says where they differ from this lens's. Without
    `read` the weights themselves are not: they follow from elsewhere. Raises BadInput where the
    file does not fit.
    """
    theirs = origin(Path(file))
    if read:
        weights.load_weights(lens, file, "--lens_weights")
    if lens.side is None:  # its file does not say, as of versions that edited at the images' own size only
        lens.side = theirs.get("image_size")
    if lens.replaces and lens.side not in (None, image_size):
        raise BadInput(
            f"--lens_weights {file} was trained at {lens.side} px and the images have {image_size}: such a lens finds what it "
            f"was trained to find at its own size; give --image_size {lens.side}, or train it anew"
        )
    if lens.side not in (None, image_size):
        say(
            f"--lens_weights {file} was trained at {lens.side} px and the images have {image_size}: it edits them at "
            f"{lens.side} px, and its edits are resized"
        )
    if (theirs_grey := theirs.get("lens_grey", lens.grey)) != lens.grey:
        say(
            f"--lens_weights {file} was trained with --lens_grey {theirs_grey} and this run has {lens.grey}: images without "
            f"colour are edited otherwise; to have it as it was, give --lens_grey {theirs_grey}"
        )
    if (before := theirs.get("lens_noise", lens.noise)) != lens.noise:
        meant = "what the noise covered may be seen" if before > lens.noise else "its images get more noise than then"
        say(
            f"--lens_weights {file} was trained with --lens_noise {before:g} and this run has {lens.noise:g}: {meant}; to "
            f"have it as it was, give --lens_noise {before:g}"
        )


def origin(weights: Path) -> dict[str, Any]:
    """The settings of the run whose directory (or its best/) holds a weight file; empty where there is no such run.

    Raises BadInput where the file that holds them cannot be read as a run's settings.
    """
    found = run_of(weights)
    return {} if found is None else found[1]


def run_of(weights: Path) -> tuple[Path, dict[str, Any]] | None:
    """The directory of that run, and its settings as `origin` gives them; None where there is no such run."""
    for folder in (weights.parent, weights.parent.parent):
        if (folder / "settings.yaml").is_file():
            with reading(folder / "settings.yaml", "copy the weights elsewhere, if it is no run's"):
                found: dict[str, Any] = yaml_text.read(folder / "settings.yaml")
                numbers = {"image_size": int(found["image_size"]), "lens_noise": float(found.get("lens_noise", 0))}
                if not (8 <= numbers["image_size"] <= LARGEST_SIDE and 0 <= numbers["lens_noise"] <= 0.5):
                    raise ValueError(f"its image_size and lens_noise are {numbers}")
                grey = found.get("lens_grey", "free")  # as it was before there was the setting
                if grey not in ("keep", "free"):
                    raise ValueError(f"its lens_grey is {grey!r}")
                further = found.get("lens_weights")
                if not isinstance(further, str | None):
                    raise ValueError(f"its lens_weights is {further!r}")
                return folder, found | numbers | {"lens_grey": grey}
    return None
