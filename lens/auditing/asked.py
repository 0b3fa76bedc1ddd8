"""What an audit is asked: which folders, how many of their images, how closely it looks."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import BadInput, check_number
from lens.base.patterns import compiled
from lens.settings.field import setting
from lens.settings.groups.data import LARGEST_SIDE
from lens.settings.groups.machine import MOST_THREADS

LEAST_IMAGES = 50
"""Images that a source needs: of 30 % of fewer no interval says much."""


@dataclasses.dataclass(frozen=True)
class AuditSettings:
    """Which folders are told apart, and how."""

    source: list[str] = setting(dataclasses.MISSING, path=True)
    """Two sources or more: folders of images, or what else --data of lens train takes."""
    labels: bool = setting(False)
    """The sources share their classes (subfolders): train on each, test on the others, and ask each row within classes too."""
    group_by: str | None = setting(None)
    """Regular expression that finds an image's group (a patient) in its name; a group falls into one split as a whole."""
    images: int = setting(2000)
    """Images of each source that are looked at, at most: a random sample."""
    image_size: int = setting(48)
    """Side of the squares in pixels that pixel cues and networks are given, 16 or more."""
    budget: Literal["quick", "full"] = setting("quick")
    """quick: boosted trees for every cue, one small network; full: networks for every cue that is an image, resumable."""
    features: str | None = setting(None)
    """A timm network whose frozen features are one cue more (vit_small_patch14_dinov2, …); its weights are fetched."""
    fail_above: float | None = setting(None)
    """Exit code 3 where a significant row's balanced accuracy is above this, 0 to 1."""
    out: str | None = setting(None, path=True)
    """Folder of the results; default runs/audit-<time>."""
    seed: int = setting(0)
    """What everything random is drawn from, 0 or more."""
    threads: int | None = setting(None)
    """CPU threads; default: as many as this process may use."""
    device: str = setting("auto")
    """Where networks are computed: auto, cpu, cuda or cuda:N."""
    data_root: str | None = setting(None, path=True)
    """Folder of the data sets that are called by name; default $LENS_DATA, else ./data."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        if len(self.source) < 2:
            raise BadInput(
                f"an audit tells two sources or more apart, and {len(self.source)} is given: name another folder, or cut this "
                "one in two if its halves are to be told apart"
            )
        if "" in self.source:
            raise BadInput(
                f"source {self.source.index('') + 1} of {len(self.source)} is '', no name at all: give a folder of images, or what "
                "else --data of lens train takes"
            )
        check_number("images", self.images, low=LEAST_IMAGES)
        check_number("image_size", self.image_size, low=16, high=LARGEST_SIDE)
        check_number("seed", self.seed, low=0, high=2**32 - 1)
        if self.fail_above is not None:
            check_number("fail_above", self.fail_above, low=0, high=1)
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        if self.group_by is not None:
            compiled(self.group_by)
