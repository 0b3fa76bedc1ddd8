"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lens.base.characters import printable


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a Markdown table; what would end a cell or steer a terminal is made visible."""
    return "\n".join("| " + " | ".join(printable(word).replace("|", "\\|") for word in row) + " |" for row in rows)
