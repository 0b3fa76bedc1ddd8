"""The settings that a run directory holds: brought to this version, compared, and never trusted with code."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput
from lens.settings import agreement, old_names, words
from lens.settings.field import FIRST, as_list
from lens.settings.parsing import parse, refuse_untrusted_files
from lens.settings.run_settings import PLUGINS

SECOND = "0.2.0"
"""The version after the first; runs of all later ones have its settings."""


def differing(stored: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The settings in which a resumed run would differ from what it was started with, those that may aside."""
    lists = ("data", "probe")  # one source may be written as a word or as a list of one
    stored, given = ({k: as_list(v) if k in lists else v for k, v in plain.items()} for plain in (stored, given))
    keys = set(stored) | set(given)
    return sorted(key for key in keys - set(agreement.may_change()) if stored.get(key) != given.get(key))


def of_this_version(stored: dict[str, Any], writer: str, directory: Path) -> dict[str, Any]:
    """A run's settings with the keys of this version, where it can be known what they meant to the run.

    Raises BadInput, naming both versions and the key, where the run lacks a setting that the version `writer` had, or has one
    that this version has not, and where `writer` is newer: the same settings may then mean something else. And where the run
    seems to be of the first version, which wrote no origin.json, and has settings of the second, so that it has lost that file.
    """
    from lens import __version__

    stored = old_names.in_settings(stored)
    if writer == FIRST and (later := [name for name in agreement.brought_by(SECOND) if name in stored]):
        raise BadInput(
            f"{directory} has lost its origin.json: lens {FIRST}, which wrote none, did not know the setting {later[0]!r}; bring "
            "the file back from a copy, or start a new run with another --out"
        )
    chosen: dict[str, Any] = {kind: str(stored[kind]) for kind in PLUGINS if kind in stored}
    asked_about = {key: stored[key] for key in ("data", "pseudo_sources") if key in stored}  # a task may need several
    both = f"{directory} was written by lens {writer} and this is lens {__version__}"
    try:
        defaults = _defaults(json.dumps(chosen | asked_about, default=str))
    except BadInput as error:
        where = f"{directory}/settings.yaml" if writer == __version__ else both
        raise BadInput(f"{where}: {error}") from error
    theirs, ours = set(stored), set(defaults)
    if unknown := sorted(theirs - ours):
        raise BadInput(f"{both}, which does not know the setting {unknown[0]!r}: use lens {writer}")
    without = agreement.unknown_to(writer)
    if missing := sorted(ours - theirs - set(without)):
        if writer == __version__:
            raise BadInput(
                f"{directory}/settings.yaml is damaged: it lacks the setting {missing[0]!r}, which lens {writer} wrote; bring "
                "it back from a copy, or start a new run with another --out"
            )
        raise BadInput(
            f"{both}, whose setting {missing[0]!r} it lacks, so what it did there is not known: use lens {writer}"
        )
    if agreement.numbers(writer) > agreement.numbers(__version__):
        raise BadInput(f"{both}, which is older and may read its settings otherwise: use lens {writer}")
    return defaults | without | stored


@functools.lru_cache(maxsize=16)
def _defaults(asked: str) -> dict[str, Any]:
    """The settings, as JSON, of a run that says no more than is `asked`; runs that are compared mostly ask the same."""
    return parse([], "lens.train", json.loads(asked)).plain


def refuse_foreign_code(plain: dict[str, Any], argv: list[str], directory: Path) -> None:
    """A run directory from a stranger runs no code.

    Raises BadInput where a run's task or shortcut is a file that the command line does not name, or where a setting would
    import something.
    """
    words.refuse_classes(f"{directory}/settings.yaml", plain)
    refuse_untrusted_files(plain, str(directory), argv)
