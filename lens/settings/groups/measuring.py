"""What is measured, on the way and at the end, and of how many images."""

from __future__ import annotations

import dataclasses

from lens.base.errors import MOST_COUNT, check_number
from lens.settings.field import as_list, setting


@dataclasses.dataclass(frozen=True)
class MeasuringSettings:
    """What is measured, on the way and at the end, and of how many images."""

    val_images: int = setting(128, role="validation", was="eval_images")
    """Validation images that an evaluation during training looks at, at most."""
    test_images: int | None = setting(2000, role="measuring")
    """Test images that the pretext task is asked about at the end, at most; null: all."""
    probe: list[str] | str = setting([], role="measuring", path=True)
    """Labelled sources for the linear and k-NN probes at the end; default: the training sources that have labels."""
    probe_images: int | None = setting(10_000, role="measuring")
    """Training images that a probe is fitted on, at most; null: all."""
    probe_test_images: int | None = setting(2000, role="measuring", since="0.3.0", before=None)
    """Validation and test images, each, that a probe looks at, at most; null: all."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        for flag in ("val_images", "test_images", "probe_images", "probe_test_images"):
            if getattr(self, flag) is not None:
                check_number(flag, getattr(self, flag), low=1, high=MOST_COUNT)

    @property
    def probes(self) -> list[str]:
        """`probe` as a list."""
        return as_list(self.probe)
