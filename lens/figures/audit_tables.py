"""The tables of an audit, from its saved results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lens.auditing.verdict import called
from lens.base import intervals
from lens.base.table import show
from lens.protocols.lookup import short_names
from lens.results.audit import Across, Audit

COLUMNS = ["cue", "accuracy", "95 %", "AUC", "null", "p (Holm)", ""]


def table(audit: Audit) -> list[list[str]]:
    """A line for each row of the ladder; the last column marks the significant ones."""
    within = any(row.within_classes for row in audit.rows)
    lines = [[*COLUMNS[:-1], *(["within"] if within else []), COLUMNS[-1]]]
    for row in audit.rows:
        line = [
            called(row), percent(row.accuracy), ends(row.balanced_accuracy.interval), f"{row.auc:.2f}",
            "" if row.null is None else f"{100 * row.null:.0f} %", f"{row.p_holm:.4f}",
        ]  # fmt: skip
        if within:
            inner = row.within_classes
            line.append("" if not inner else f"{100 * inner['balanced_accuracy']:.0f} %" + " *" * inner["significant"])
        lines.append([*line, "tells" if row.significant else ""])
    return lines


def ends(interval: Any) -> str:
    """The ends of an interval in whole percents: 97–100."""
    return intervals.words(interval, lambda end: f"{100 * end:.0f}").replace(" – ", "–")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def notes(audit: Audit) -> list[str]:
    """What to know of the table."""
    rows = table(audit)
    return [
        f"Balanced accuracy on {sum(audit.test_images):,} test images ({_by_source(audit)}); chance is {percent(audit.chance)}. "
        "Null: the same row about random parts of the pooled images. A row tells where its p, corrected for the number of rows, is "
        "at most 0.05."
        + " Within: accuracy among pictures of one class, with * where that tells."
        * any(row.within_classes for row in audit.rows),
        *audit.notes,
        _cost(audit),
        *intervals.note(rows),
    ]


def _cost(audit: Audit) -> str:
    """What the audit took, in seconds and memory."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in audit.seconds.items())
    return f"Looked at {sum(audit.images):,} of {sum(audit.listed):,} images. It took {parts}, and at most {audit.peak_memory:.1f} GiB of memory."


def _by_source(audit: Audit) -> str:
    names = short_names(audit.sources)
    return ", ".join(f"{count:,} of {name}" for count, name in zip(audit.test_images, names, strict=True))


def cross_table(audit: Audit, across: Across) -> list[list[str]]:
    """Trained on a row's source, tested on a column's; the drop, what its images are worth elsewhere, its basket."""
    names = short_names(audit.sources)
    lines = [["trained on", *(f"tested on {name}" for name in names), "drop", "worth", "basket"]]
    for i, name in enumerate(names):
        cells = [
            f"{100 * value:.0f} % ({ends(interval)})"
            for value, interval in zip(across.accuracy[i], across.ci[i], strict=True)
        ]
        worth = ", ".join(_number(value) for j, value in enumerate(across.worth[i]) if j != i)
        lines.append([name, *cells, percent(across.drop[i]), worth, _number(across.basket[i])])
    return lines


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def print_audit(audit: Audit, where: Path) -> None:
    """Print duplicates first, then the ladder, then the verdict; `where` is the file that holds the figures."""
    first = [(line, "bold") for line in duplicates(audit)[:5]]
    rows = table(audit)
    bold = [[row.significant] * len(rows[0]) for row in audit.rows]
    dim = [(note, "dim") for note in notes(audit)]
    said = [(line, "bold") for line in audit.verdict]
    show(
        f"which cue tells {', '.join(short_names(audit.sources))} apart", rows[0], rows[1:], left=("cue", ""), where=where,
        bold=bold, notes=[*first, *dim, *said],
    )  # fmt: skip
    if audit.across is not None:
        cross = cross_table(audit, audit.across)
        beside = [(note, "dim") for note in audit.across.notes]
        show("classes across sources", cross[0], cross[1:], left=("trained on",), where=where, notes=beside)


def duplicates(audit: Audit) -> list[str]:
    """Lines about pictures that stand in several sources."""
    if not audit.duplicates:
        return []
    count = len(audit.duplicates)
    lines = [f"{count:,} pair{'s' * (count > 1)} of near-duplicates across the sources, kept in one split:"]
    for pair in audit.duplicates[:10]:
        one, other = pair["first"], pair["second"]
        lines.append(f"{one['name']} of {one['source']} = {other['name']} of {other['source']}")
    return lines


def is_above(audit: Audit, limit: float | None) -> bool:
    """Whether a significant row's balanced accuracy is above the limit."""
    return limit is not None and any(row.significant and row.accuracy > limit for row in audit.rows)
