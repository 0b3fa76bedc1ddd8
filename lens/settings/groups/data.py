"""Which images there are, how large they are, how they are divided and how they are come by."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from lens.base.errors import BadInput, check_number
from lens.base.patterns import compiled
from lens.settings.field import as_list, setting

LARGEST_SIDE = 8192
"""Pixels of a square's side, at most."""


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which images there are, how large they are, how they are divided and how they are come by."""

    data: list[str] | str = setting("chest_xray", role="images", path=True)
    """Where images come from: a built-in name, a path (with a slash), or hub:owner/name; several are pooled."""
    data_root: str | None = setting(None, role="reading", since="0.2.0", needs="data set", path=True)
    """Folder of the data sets that are called by name (cifar10, imagenet, …); default $LENS_DATA, else ./data."""
    image_column: str | None = setting(None, role="images", needs="table")
    """Column of the images, where a table (parquet, shards, hub) leaves it open."""
    label_column: str | None = setting(None, role="images", needs="table")
    """Column of the labels, where a table (parquet, shards, hub) leaves it open."""
    image_size: int = setting(64, role="images")
    """Side of the square images in pixels, 8 or more."""
    cache: Literal["disk", "none"] = setting("disk", role="reading", since="0.2.0")
    """disk: decode each image once, into --cache_dir; none: decode when a batch is read (give it --num_workers)."""
    cache_image_size: int | None = setting(None, role="images", was="cache_size")
    """Side of the cached squares, which random crops are cut from; default 8/7 of the image size."""
    cache_dir: str | None = setting(None, role="reading", path=True)
    """Where decoded images are kept between runs; default $LENS_CACHE, else lens in the user's cache directory."""
    max_bad_fraction: float = setting(0.01, role="reading", needs="disk cache")
    """Share of unreadable images, 0 to 1, beyond which a source is refused."""
    intensity_range: list[float] | str = setting("auto", role="images", since="0.4.0")
    """Which numbers of deep images (16 or 32 bits, floats) are shown as black and as white, LOW HIGH; auto: decided once for a
    source, from its lowest and highest number. Images of 8 bits are taken as they are."""
    pseudo_sources: int | None = setting(None, role="division", since="0.4.0", was="split_sources")
    """Cut the one source at random into this many pseudo-sources, 2 to 64: they differ in nothing, so nothing may be found."""
    group_by: str | None = setting(None, role="division", since="0.4.0")
    """Regular expression that finds an image's group (a patient) in its name, which begins with its folders below the source's;
    a group falls into one split as a whole."""
    judge_fraction: float | None = setting(None, role="division", since="0.4.0", was="fresh_fraction")
    """Share of the training split, 0 to 0.9, that is kept from the lens for fresh classifiers that judge it later; default
    0.5 for dataset_classification, else 0."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("image_size", self.image_size, low=8, high=LARGEST_SIDE)
        if self.cache_image_size is not None:
            check_number("cache_image_size", self.cache_image_size, low=self.image_size, high=LARGEST_SIDE)
        check_number("max_bad_fraction", self.max_bad_fraction, low=0, high=1)
        _check_range(self.intensity_range)
        if not self.sources:
            raise BadInput("--data is empty: give a built-in name or a path")
        if self.pseudo_sources is not None:
            check_number("pseudo_sources", self.pseudo_sources, low=2, high=64)
            if len(self.sources) > 1:
                raise BadInput(
                    f"--pseudo_sources {self.pseudo_sources} cuts one source into several and {len(self.sources)} are given: "
                    "give one --data, or drop it"
                )
        if self.group_by is not None:
            compiled(self.group_by)
        if self.judge_fraction is not None:
            check_number("judge_fraction", self.judge_fraction, low=0, high=0.9)

    @property
    def sources(self) -> list[str]:
        """`data` as a list."""
        return as_list(self.data)

    @property
    def source_count(self) -> int:
        """How many sources there are, pseudo-sources where one is cut."""
        return self.pseudo_sources or len(self.sources)

    @property
    def shown_range(self) -> tuple[float, float] | None:
        """What deep images show as 0 and as 255, or None where each source decides."""
        if isinstance(self.intensity_range, str):
            return None
        low, high = self.intensity_range
        return float(low), float(high)

    @property
    def resolved_cache_size(self) -> int:
        """The side of the cached squares: --cache_image_size, else 8/7 of the image size."""
        return cache_side(self.cache_image_size, self.image_size)


def cache_side(cache_image_size: int | None, image_size: int) -> int:
    """The side in pixels of the cached squares: what is said, else 8/7 of the image size, which crops are cut from."""
    return cache_image_size or -(-image_size * 8 // 7)


def _check_range(value: list[float] | str) -> None:
    """Raise BadInput where a range is neither auto nor two finite numbers, the lower one first."""
    if value == "auto":
        return
    if isinstance(value, str) or len(value) != 2 or not all(map(math.isfinite, value)) or not value[0] < value[1]:
        given = value if isinstance(value, str) else " ".join(f"{x:g}" for x in value)
        raise BadInput(
            f"--intensity_range is {given!r}: it must be auto, or two numbers, what is shown as black and what as white, the "
            "lower one first, such as 0 4095"
        )
