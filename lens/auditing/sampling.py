"""The sources of an audit, opened and listed, and which of their images are looked at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lens.auditing.asked import LEAST_IMAGES, AuditSettings
from lens.base.errors import BadInput
from lens.images.data import sample_of
from lens.images.divide import refuse_unmatched
from lens.images.opening import open_source
from lens.images.overlap import refuse_overlap
from lens.protocols.source import Listing, Record, Source

if TYPE_CHECKING:
    import PIL.Image


NAMING = "the audit names"


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A source's images that are looked at: `chosen` positions of its listing, in order. It is a source itself."""

    key: str
    source: Source
    whole: Listing
    chosen: list[int]

    def listing(self) -> Listing:
        """The records that were chosen."""
        return dataclasses.replace(self.whole, records=self.records)

    @property
    def records(self) -> list[Record]:
        """The same, without the rest."""
        return [self.whole.records[position] for position in self.chosen]

    def read(self, position: int) -> PIL.Image.Image:
        """Open the chosen image `position`."""
        return self.source.read(self.chosen[position])


def sampled(asked: AuditSettings) -> list[Sampled]:
    """Open and list the sources, draw at most --images of each.

    Raises BadInput where a source is named twice, lies in another one or has too few images, and where --group_by finds
    nothing in any of its names.
    """
    keys = asked.source
    refuse_overlap(keys, naming=NAMING)
    opened = [open_source(key, root=asked.data_root) for key in keys]
    listings = [source.listing() for source in opened]
    refuse_overlap(keys, listings, NAMING)
    if asked.group_by is not None:
        refuse_unmatched(asked.group_by, keys, listings)
    for key, listing in zip(keys, listings, strict=True):
        refuse_few(key, len(listing.records))
    return [
        Sampled(key, source, listing, _drawn(len(listing.records), asked, key))
        for key, source, listing in zip(keys, opened, listings, strict=True)
    ]


def refuse_few(key: str, count: int) -> None:
    """Raise BadInput for a source of fewer than `LEAST_IMAGES` images."""
    if count < LEAST_IMAGES:
        raise BadInput(
            f"{key} has {count} image{'s' * (count != 1)} that can be read: an audit needs {LEAST_IMAGES} of each source; give more"
        )


def _drawn(count: int, asked: AuditSettings, key: str) -> list[int]:
    found: list[int] = sample_of(np.arange(count), asked.images, asked.seed, f"audit {key}").tolist()
    return found
