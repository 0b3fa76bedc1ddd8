"""What Python users import: the verbs as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def audit(*sources: str, **settings: Any) -> pandas.DataFrame:
    """Which cue tells the sources apart: a row for each cue, as `lens audit` finds them; nothing is written.

    `settings` are those of `lens audit` (`images`, `labels`, `group_by`, `seed`, …). The columns are those of a row of audit.json, with the
    ends of the interval as `ci_low` and `ci_high`; `attrs` of the data frame hold the `verdict`, `chance` and the near-duplicates.

    Raises BadInput, a ValueError, for sources that cannot be audited and for settings that the audit does not read here.
    """
    import dataclasses

    import pandas

    from lens.auditing.asked import AuditSettings
    from lens.auditing.keeping import Finished, plain
    from lens.auditing.story import audited
    from lens.base.errors import BadInput, nearest

    known = [
        field.name for field in dataclasses.fields(AuditSettings) if field.name not in ("source", "out", "fail_above")
    ]
    for name in settings:
        if name not in known:
            raise BadInput(f"audit does not take {name!r}: {nearest(name, known)}")
    asked = AuditSettings(source=list(map(str, sources)), **settings)
    found = audited(asked, Finished(None, asked)).audit
    frame = pandas.DataFrame(plain(found.rows))
    frame.attrs |= {"verdict": found.verdict, "chance": found.chance, "duplicates": found.duplicates}
    return frame
