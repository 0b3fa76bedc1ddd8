"""What is written down, how often and where, and who is told."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import MOST_COUNT, BadInput, check_number
from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class RecordSettings:
    """What is written down, how often and where, and who is told."""

    out: str | None = setting(None, role="place", path=True, grid="each run has its own directory in the grid's --out")
    """Run directory; default runs/<task>-<time>. One that holds a run is never overwritten."""
    resume: str | None = setting(None, role="place", path=True, grid="unfinished runs are resumed without being asked")
    """Run directory to continue; only steps, epochs, device, num_workers, the wandb and the proof's settings may differ."""
    log_every: int = setting(10, role="record")
    """Steps between lines of metrics.jsonl."""
    val_every: int = setting(50, role="record", was="eval_every")
    """Steps between evaluations on the validation split."""
    checkpoint_every: int = setting(50, role="record")
    """Steps between checkpoints."""
    wandb: Literal["disabled", "offline", "online"] = setting("disabled", role="tracking", since="0.2.0", resume=True)
    """Mirror the record, settings, summary and pictures to Weights & Biases."""
    wandb_project: str = setting("lens", role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Project of the Weights & Biases run."""
    wandb_group: str | None = setting(None, role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Group of the Weights & Biases run."""
    wandb_tags: list[str] = setting([], role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Tags of the Weights & Biases run, one or several."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        for flag in ("log_every", "val_every", "checkpoint_every"):
            check_number(flag, getattr(self, flag), low=1, high=MOST_COUNT)
        if self.wandb != "disabled":
            _check_wandb_names(self.wandb_project, self.wandb_group, self.wandb_tags)


def _check_wandb_names(project: str, group: str | None, tags: list[str]) -> None:
    """Raise BadInput for names that Weights & Biases refuses: some at the start, some when an offline run is uploaded."""
    named = [("project", project, 128), *(("tags", tag, 64) for tag in tags)]
    named += [("group", group, 128)] if group is not None else []
    for what, name, most in named:
        if not 1 <= len(name) <= most:
            shown = f"{name[:20]}…" if name else "empty"
            raise BadInput(
                f"--wandb_{what} {shown} has {len(name)} characters: Weights & Biases takes 1 to {most}; shorten it, or leave "
                "it out"
            )
    if found := sorted(set(project) & set("/\\#?%:")):
        raise BadInput(
            f"--wandb_project {project!r} has {' and '.join(found)} in it, and Weights & Biases takes no / \\ # ? % : there: "
            "write - instead (the entity stands in WANDB_ENTITY)"
        )
