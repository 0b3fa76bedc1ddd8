"""The proof of removal: its judges and what they look at."""

from __future__ import annotations

import dataclasses

from lens.base.errors import MOST_COUNT, check_number
from lens.settings.field import setting

MOST_SEEDS = 1000
"""Judges of one architecture, at most."""


@dataclasses.dataclass(frozen=True)
class ProofSettings:
    """The proof of removal: its judges and what they look at."""

    prove: bool = setting(False, role="proof", since="0.4.0", resume=True, was="removal")
    """Prove the removal at the end: judges are asked for the source, for the planted cue and the task's own question, on raw and
    on lensed images."""
    judges: list[str] | str = setting(
        [], role="proof", since="0.4.0", resume=True, needs="removal", was="removal_classifiers"
    )
    """Their architectures, as --extractor or NAME:{argument: value}; default: the extractor's, and all_conv or
    resnet18. The first one also learns the class labels, for the downstream cost."""
    judge_seeds: int = setting(3, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_seeds")
    """Classifiers of each architecture, others for every --seed; the best of all in validation counts."""
    judge_steps: int = setting(2000, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_steps")
    """Training steps of a fresh classifier, at most; over the last quarter its rate falls to zero. It ends earlier on its third
    plateau (before step 1,000 none counts, unless 95 % are read) or at 98 %."""
    judge_images: int | None = setting(
        None, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_images"
    )
    """Images of each split that the proof looks at, at most; default all."""
    raised_judges: bool = setting(False, role="proof", since="0.4.0", resume=True, needs="removal")
    """Ask raised judges too: of the first architecture, they learn raw images and are led to lensed ones (twice a fresh one's time)."""

    judge_cues: bool = setting(True, role="proof", since="0.4.0", resume=True, needs="removal")
    """Ask the audit's ladder of cues before and after the lens: has one of them risen? Half a minute for small images."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        for flag in ("judge_seeds", "judge_steps", "judge_images"):
            if getattr(self, flag) is not None:
                check_number(flag, getattr(self, flag), low=1, high=MOST_SEEDS if flag == "judge_seeds" else MOST_COUNT)
