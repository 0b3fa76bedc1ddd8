"""The page of an audit with the pictures that it shows, from its saved results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lens.auditing.verdict import called
from lens.base.characters import printable
from lens.base.markdown import markdown_table
from lens.figures.audit_pictures import (
    combs_picture,
    combs_speak,
    confusion_picture,
    extremes_picture,
    ladder_picture,
    rows_shown,
    where_picture,
)
from lens.figures.audit_tables import cross_table, duplicates, notes, table
from lens.protocols.lookup import short_names
from lens.results.audit import Audit

Array = np.ndarray[Any, Any]
MARKUP = re.compile(
    r"[`*~\[\]<]|\\(?=[!-/:-@\[-`{-~])|(?<![^\W_])_|_(?![^\W_])|^[#>]|^([+-]|\d+[.)])(?=\s)|&(?=#?\w+;)|:(?=//)|(?<=www)\."
)
"""What Markdown, and GitHub's, would read in a line of text as more than text; _ within a word is none of it."""
ENTITIES = {"<": "&lt;", "&": "&amp;", ":": "&#58;", ".": "&#46;"}
"""Of these a backslash before them does not everywhere make text."""


def files(audit: Audit, arrays: Mapping[str, Array]) -> dict[str, str | bytes]:
    """The page and the pictures, by their files' names."""
    found: dict[str, str | bytes] = {"audit.png": ladder_picture(audit)}
    if telling := rows_shown(audit, arrays):
        found["extremes.png"] = extremes_picture(audit, telling, arrays)
    found["confusion.png"] = confusion_picture(audit)
    if combs_speak(audit):
        found["combs.png"] = combs_picture(audit)
    if audit.where is not None:
        found["where.png"] = where_picture(audit)
    found["audit.md"] = page(audit, list(found))
    return found


def literal(text: str) -> str:
    """A line of text as Markdown that shows it as it is, on one line: names of files and folders and what headers say are strangers'."""
    return MARKUP.sub(lambda found: ENTITIES.get(found[0], f"{found[0][:-1]}\\{found[0][-1]}"), printable(text))


def page(audit: Audit, pictures: list[str]) -> str:
    """The audit as a page in Markdown; every line that may name a file, a folder or a field is `literal`."""
    head, *rows = table(audit)
    parts = [
        f"# Which cue tells {literal(', '.join(short_names(audit.sources)))} apart",
        "\n".join(f"- {literal(line)}" for line in audit.verdict),
    ]
    if lines := duplicates(audit):
        parts.append("\n".join(["## Near-duplicates", "", lines[0], "", *(f"- {literal(line)}" for line in lines[1:])]))
    left = ["---", *["---:"] * (len(head) - 2), "---"]
    parts += ["## The ladder", markdown_table([head, left, *rows]), *map(literal, notes(audit))]
    said = [f"- {literal(f'{called(row)}: {line}')}" for row in audit.rows for line in row.says]
    parts += ["## What the fields say", "\n".join(said)] if said else []
    if audit.across is not None:
        head, *rows = [list(map(literal, line)) for line in cross_table(audit, audit.across)]
        parts += [
            "## Classes across sources",
            markdown_table([head, ["---", *["---:"] * (len(head) - 1)], *rows]),
            *map(literal, audit.across.notes),
        ]
    if audit.where is not None:
        parts += ["## Where the network looks", where_words(audit)]
    if audit.skipped:
        parts += [f"{len(audit.skipped):,} images could not be read; they are listed in audit.json."]
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n\n".join(parts) + "\n"


def where_words(audit: Audit) -> str:
    """What the maps of where are, and whether they can be believed."""
    assert audit.where is not None
    found = audit.where
    check = "the same everywhere" if found.fragility is None else f"{found.fragility:.2f}"
    trust = (
        "The maps move with noise that nobody sees: read nothing into them."
        if found.fragility is None or found.fragility < 0.7
        else "Noise that nobody sees leaves the maps as they are; that a place matters is still no proof of a shortcut."
    )
    return (
        f"How much the log-odds of the true source fall as each of {found.cells}×{found.cells} cells is covered with the mean colour, "
        f"mean over {found.images:,} test images. Rank correlation with the maps of images with noise of {255 * found.noise:.0f} levels: "
        f"{check}. {trust}"
    )
