"""Settings that would be ignored in silence: given by a person, and read by nobody in this run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from lens.base.errors import BadInput
from lens.protocols.lookup import find, key_name, names
from lens.settings.run_settings import FIELDS, Settings


def _has_lens(settings: Settings) -> bool:
    return settings.players.lens_class.learns


def _reads_tables(settings: Settings) -> bool:
    return any(key not in names("source") for key in settings.data.sources)


def _has_data_set(settings: Settings) -> bool:
    built_in = {key for key in (*settings.data.sources, *settings.measuring.probes) if key in names("source")}
    return any("root" in {field.name for field in dataclasses.fields(find("source", key))} for key in built_in)


NEEDS: dict[str, tuple[Callable[[Settings], bool], str]] = {
    "lens": (_has_lens, "with --lens {lens} no lens learns"),
    "added noise": (
        lambda s: _has_lens(s) and not s.players.lens_class.replaces,
        "with --lens {lens} no lens is given noise of its own",
    ),
    "changed images": (lambda s: s.players.lens_class.changes, "with --lens {lens} nothing changes the images"),
    "both kinds": (
        lambda s: s.players.lens_class.changes and s.game.feed == "both",
        "with --lens {lens} and --feed {feed} the extractor learns from images of one kind",
    ),
    "steered change": (
        lambda s: s.players.lens_class.changes and not s.players.lens_class.fixed and not s.players.lens_class.replaces,
        "with --lens {lens} nobody steers how far the images are changed",
    ),
    "steered weight": (
        lambda s: _has_lens(s) and not s.players.lens_class.replaces and s.game.steered_psnr is not None,
        "nobody steers the weight of the reconstruction: that takes a lens that learns to change images (--lens {lens}), and no --recon_weight",
    ),
    "planted shortcut": (lambda s: key_name(s.question.shortcut) != "none", "no --shortcut is planted"),
    "label key": (
        lambda s: key_name(s.question.shortcut) != "none" and s.question.shortcut_key == "label",
        "no --shortcut is planted with --shortcut_key label",
    ),
    "removal": (lambda s: s.proof.prove, "it belongs to --prove, which is not asked for"),
    "W&B": (lambda s: s.record.wandb != "disabled", "it belongs to --wandb offline or online, which is not asked for"),
    "disk cache": (lambda s: s.data.cache == "disk", "with --cache none an image that cannot be read ends the run"),
    "table": (_reads_tables, "no --data is a table"),
    "data set": (_has_data_set, "no --data or --probe is a data set that is called by its name"),
    "Adam": (
        lambda s: s.optimisation.optimizer == "adamw" or _has_lens(s),
        "with --optimizer sgd and no lens there is no Adam",
    ),
}
"""What a setting's `needs` asks of a run, and why nobody reads it where that is not so."""


def idle(settings: Settings, given: Iterable[str]) -> dict[str, str]:
    """The settings among `given` that nobody reads in such a run, each with the reason."""
    needed = {name: field.metadata.get("needs") for name, field in FIELDS.items()}
    found = {}
    for name in given:
        if needs := needed.get(name):
            is_there, reason = NEEDS[needs]
            if not is_there(settings):
                found[name] = reason.format(lens=settings.players.lens, feed=settings.game.feed)
    return found


def refuse(settings: Settings, given: Iterable[str]) -> None:
    """Raise BadInput, in one line, for settings that a person has given and nobody would read."""
    found = idle(settings, given)
    if found:
        reason = next(iter(found.values()))
        flags = [f"--{name}" for name, why in found.items() if why == reason]
        raise BadInput(
            f"{', '.join(flags)} would be ignored: {reason}; leave {'it' if len(flags) == 1 else 'them'} out"
        )
