"""Which cue tells these folders apart? A ladder of cues, from the files' headers to the whole image."""

from __future__ import annotations

import sys

from lens.auditing.asked import AuditSettings
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.ranks import launched
from lens.base.terminal import say
from lens.settings.small_verbs import parse_simple

ABOVE = 3
"""The exit code where a significant row is above --fail_above."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m lens.audit` and `lens audit`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: audit(arguments))


def audit(argv: list[str]) -> int:
    """Read the sources once, ask every cue, write the results into one folder, print the verdict and the table.

    Raises BadInput for sources that cannot be audited, and for a folder of results of another audit.
    """
    asked = parse_simple(argv, "lens.audit", AuditSettings, "source", "two sources of images or more")
    if launched() > 1:
        raise BadInput("lens.audit measures in one process: start it without torchrun")
    from lens.auditing import keeping, story
    from lens.figures import audit as figures
    from lens.figures import audit_tables

    folder = keeping.planned(asked)
    found = story.audited(asked, keeping.Finished(folder if asked.budget == "full" else None, asked))
    keeping.write(folder, found.audit, found.arrays, figures.files(found.audit, found.arrays))
    audit_tables.print_audit(found.audit, folder / "audit.json")
    say(f"written: {', '.join(str(folder / name) for name in ('audit.json', 'audit.md', 'audit.png'))}")
    return ABOVE if audit_tables.is_above(found.audit, asked.fail_above) else 0


if __name__ == "__main__":
    sys.exit(main())
