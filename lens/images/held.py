"""Of which images of a source there are squares, and of which none, wherever the squares lie."""

from __future__ import annotations

import dataclasses

from lens.images.squares_file import Squares


@dataclasses.dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Held:
    """The squares of a source's images, and which they are.

    `kept` are the positions in the listing that the squares belong to; `content` a hash of each one's content, or empty
    where nothing was hashed; `read_as` tells how numbers were read that are not taken as they are: the positions of each way.
    """

    squares: Squares
    kept: list[int]
    skipped: list[Skipped]
    content: list[str]
    read_as: dict[str, list[int]]
