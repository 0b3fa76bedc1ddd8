"""The squares of a source's images without a cache: decoded whenever they are read."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import time
from typing import Any

import numpy as np

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.base.threads import usable_cores
from lens.images import intensity
from lens.images.cache_folder import Progress
from lens.images.decoding import NO_RANGES, read_square, reason, without_warnings
from lens.images.held import Held
from lens.images.read_as import levels
from lens.images.squares_file import Square
from lens.protocols.source import Listing, Source


def uncached(
    key: str,
    source: Source,
    listing: Listing,
    size: int,
    progress: Progress,
    ranges: intensity.Ranges = NO_RANGES,
) -> Held:
    """What `cached` gives, with nothing written: all positions, none skipped, no content hashed.

    Where `ranges` are not given and there is a deep image among those that the rate is measured on, all deep images are
    decoded once to decide them. Raises BadInput where one of those images cannot be read.
    """
    squares = Uncached(key, source, listing, size, ranges)
    read_as: dict[str, list[int]] = {}
    if not ranges and squares.has_deep_images:
        with without_warnings():
            extents = intensity.survey(source, len(listing.records), progress)
        squares = dataclasses.replace(squares, ranges=intensity.decided(extents.values()))
        for position, extent in extents.items():
            read_as.setdefault(levels(squares.ranges[extent.kind]), []).append(position)
    _ = squares.rate  # measured before training
    return Held(squares, list(range(len(listing.records))), [], [], read_as)


@dataclasses.dataclass(frozen=True)
class Uncached:
    """The squares of a source, indexed as the cached array is, but decoded each time that they are read."""

    key: str
    source: Source
    listing: Listing
    size: int
    ranges: intensity.Ranges = dataclasses.field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, size, size, 3)."""
        return len(self.listing.records), self.size, self.size, 3

    def __getitem__(self, index: np.ndarray[Any, np.dtype[np.int64]]) -> Square:
        """The squares at `index`, (B, size, size, 3) uint8; a loader's worker decodes alone, else all cores do.

        Raises BadInput, with its name, for an image that cannot be read: nothing is substituted or left out.
        """
        from torch.utils.data import get_worker_info

        threads = 1 if get_worker_info() else usable_cores()
        return self._decode(index, threads)

    @functools.cached_property
    def rate(self) -> float:
        """Images that one core reads and decodes in a second, measured on the sample."""
        start = time.perf_counter()
        self._decode(self.sample, 1)
        return len(self.sample) / (time.perf_counter() - start)

    @property
    def sample(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Up to 256 positions from all over the source."""
        count = len(self.listing.records)
        return np.unique(np.linspace(0, count - 1, min(count, 256)).astype(np.int64))

    @property
    def has_deep_images(self) -> bool:
        """Whether there is a deep image in the sample, by the headers alone."""

        def is_deep(position: int) -> bool:
            with contextlib.suppress(Exception), self.source.read(position) as image:
                return intensity.kind_of(image) is not None
            return False

        return any(map(is_deep, self.sample.tolist()))

    def _decode(self, index: np.ndarray[Any, np.dtype[np.int64]], threads: int | None) -> Square:
        rows = np.empty((len(index), *self.shape[1:]), np.uint8)

        def decode(row: int) -> None:
            position = int(index[row])
            name = self.listing.records[position].name
            try:
                rows[row] = read_square(self.source, position, self.size, self.ranges)
            except intensity.Undecided as error:
                raise BadInput(
                    f"image {name!r} of {self.key} holds deep levels, and none of the {len(self.sample)} that were looked at at "
                    "the start does: give --intensity_range LOW HIGH, or use --cache disk, which looks at all of them"
                ) from error
            except Exception as error:
                raise system_fault(error, name) or BadInput(
                    f"image {name!r} of {self.key} cannot be read ({reason(error)}): remove "
                    "it, or use --cache disk, which skips and counts such images"
                ) from error

        with concurrent.futures.ThreadPoolExecutor(threads) as pool, without_warnings():
            for _ in pool.map(decode, range(len(index))):
                pass
        return rows
