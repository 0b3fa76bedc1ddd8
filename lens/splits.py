"""Which split each image falls into: a function of its group's name, or the source's own."""

from __future__ import annotations

import hashlib

from lens.protocols import Listing

SPLITS = ("train", "val", "test")


def _unit(text: str) -> float:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def split_of(listing: Listing) -> list[str]:
    """The split of each record, in its group's hash where the source does not give one.

    No splits: 70 % train, 10 % val, 20 % test. Train and test: a tenth of train becomes val. Train and val: val is
    the test split (ImageNet's habit), and a tenth of train becomes val.
    """
    given = {record.split for record in listing.records}
    result = []
    for record in listing.records:
        place = _unit(record.group or record.name)
        if record.split is None or "train" not in given or given == {"train"}:
            result.append("train" if place < 0.7 else "val" if place < 0.8 else "test")
        elif record.split == "train" and not {"val", "test"} <= given:
            result.append("val" if place < 0.1 else "train")
        elif record.split == "val" and "test" not in given:
            result.append("test")
        else:
            result.append(record.split)
    return result
