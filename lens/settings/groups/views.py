"""How images are shown in training: crops, mixing, removal by hand."""

from __future__ import annotations

import dataclasses
from typing import Literal

from lens.base.errors import check_number
from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """How images are shown in training: crops, mixing, removal by hand."""

    augment: Literal["none", "crop", "inception", "resized"] = setting("crop", role="views")
    """Training crops: none (centre), crop (random crop and flip), inception (area 0.05-1, flip, colour jitter), resized
    (area 0.08-1, aspect 3/4-4/3, flip)."""
    rand_augment: float = setting(0.0, role="views", since="0.4.0")
    """Magnitude, 0 (off) to 10, of two random operations on each training image, before a shortcut is planted."""
    mixup: float = setting(0.0, role="views", since="0.4.0")
    """Alpha of the Beta law by which views of two images are mixed, answers too; 0: off. For tasks with one class a view."""
    cutmix: float = setting(0.0, role="views", since="0.4.0")
    """Alpha of the Beta law of the share that a box from another image takes; 0: off. With --mixup: one of the two."""
    label_smoothing: float = setting(0.0, role="views", since="0.4.0")
    """Share of each training answer, 0 to below 1, that is spread over all classes."""
    grey: float | None = setting(None, role="views", since="0.3.0")
    """Removal by hand: probability of showing a view in grey, 0 to 1; default as the task's protocol has it."""
    colour_jitter: float = setting(0.0, role="views", since="0.3.0")
    """Removal by hand: strength of random brightness, contrast, saturation and hue, 0 to 1.25."""
    blur: float = setting(0.0, role="views", since="0.3.0")
    """Removal by hand: largest sigma of a Gaussian blur in px, drawn from 0 for each view."""
    standardise: bool | None = setting(None, role="views", since="0.3.0")
    """Removal by hand: mean 0 and deviation 1 of each image or patch; default as the task's protocol has it."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("rand_augment", self.rand_augment, low=0, high=10)
        for flag in ("mixup", "cutmix"):
            check_number(flag, getattr(self, flag), low=0)
        check_number("label_smoothing", self.label_smoothing, low=0, high=1, open_high=True)
        if self.grey is not None:
            check_number("grey", self.grey, low=0, high=1)
        check_number("colour_jitter", self.colour_jitter, low=0, high=1.25)
