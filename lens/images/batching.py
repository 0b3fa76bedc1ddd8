"""Batches of a run's images: a pure function of (seed, step)."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.images.data import Images


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images (B, C, H, W) uint8 at cache size, their indices and sources (B,) int64, and the epoch they belong to.

    `again` (B,) int64 is how often each image was shown before in this epoch; None: never.
    """

    images: Tensor
    index: Tensor
    source: Tensor
    epoch: int
    again: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        moved = [x.to(device, non_blocking=True) for x in (self.images, self.index, self.source)]
        again = None if self.again is None else self.again.to(device, non_blocking=True)
        return Batch(moved[0], moved[1], moved[2], self.epoch, again)

    def draws(self, seed: int) -> Draws:
        """The draws of this batch's images: others each time that one is shown, in the first pass those of the epoch."""
        epoch = self.epoch if self.again is None else self.epoch + (self.again << 32)
        return Draws(seed, epoch, self.index, torch.zeros_like(self.index))


class _Steps(Dataset[Batch | BadInput]):
    """Item s is the batch of step s: a pure function of (seed, s), on any number of workers.

    A mistake is handed over as an item: raised in a worker, it would arrive as that worker's traceback.
    """

    def __init__(
        self,
        images: Images,
        index: np.ndarray[Any, np.dtype[np.int64]],
        batch_size: int,
        seed: int,
        rank: int,
        ranks: int,
        balanced: bool,
    ) -> None:
        self.images, self.index, self.batch_size, self.seed = images, index, batch_size, seed
        self.part = slice(rank * batch_size // ranks, (rank + 1) * batch_size // ranks)
        self.steps_per_epoch = len(index) // batch_size
        self.sources = images.source[index] if balanced else None
        self.order: tuple[int, Tensor, Tensor | None] | None = None

    def __getitem__(self, step: int) -> Batch | BadInput:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self.order is None or self.order[0] != epoch:
            order = order_of(len(self.index), self.seed, epoch, "order", self.sources)
            self.order = (epoch, order, None if self.sources is None else shown_before(order))
        _, order, before = self.order
        mine = slice(position * self.batch_size + self.part.start, position * self.batch_size + self.part.stop)
        again = None if before is None else before[mine]
        try:
            return gather(self.images, self.index[order[mine].numpy()], epoch, again)
        except BadInput as error:
            return error


def order_of(
    count: int, seed: int, epoch: int, name: str, sources: np.ndarray[Any, np.dtype[np.int64]] | None = None
) -> Tensor:
    """The order of an epoch, (count,) int64: a permutation, or with `sources` (count,) equal shares of each source.

    The shares differ by one at most, and another source has the one more in each epoch. A source that is smaller than
    its share comes again, in a fresh permutation each time; of a larger one a part is left out, another in each epoch.
    """
    order = torch.randperm(count, generator=generator(seed, epoch, name))
    if sources is None:
        return order
    present = np.unique(sources)
    share, more = divmod(count, len(present))
    rows = []
    for place, source in enumerate(present.tolist()):
        mine = torch.from_numpy(np.flatnonzero(sources == source))
        wanted = share + int((place - epoch) % len(present) < more)
        passes = [
            torch.randperm(len(mine), generator=generator(seed, epoch, f"{name} {source} {number}"))
            for number in range(-(-wanted // len(mine)))
        ]
        if passes:
            rows.append(mine[torch.cat(passes)[:wanted]])
    return torch.cat(rows)[order]


def shown_before(order: Tensor) -> Tensor:
    """How often each row of an order (n,) stands in it before, (n,) int64."""
    rows, place = order.sort(stable=True)
    first = torch.searchsorted(rows, rows)
    before = torch.empty_like(order)
    before[place] = torch.arange(len(order)) - first
    return before


def gather(
    images: Images, index: np.ndarray[Any, np.dtype[np.int64]], epoch: int, again: Tensor | None = None
) -> Batch:
    """The batch that holds the images at `index`, each shown so often before in the epoch."""
    return Batch(images.fetch(index), torch.from_numpy(index), torch.from_numpy(images.source[index]), epoch, again)


GRACE = 15
"""Seconds that a reader of batches lives on after SIGTERM."""


def _outlive_signals(worker: int) -> None:
    """A signal to the whole process group must not kill the readers: the main process ends them when it has saved.

    But SIGTERM is also how a main process that fails ends them: after a while they go.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE) and None)


def steps_per_epoch(images: Images, batch_size: int) -> int:
    """Full batches in one pass over the training split.

    Raises BadInput where there is not even one, or where nothing is left to validate or test on.
    """
    count = len(images.indices("train"))
    if count < batch_size:
        raise BadInput(
            f"the training split holds {count} images, fewer than one batch of {batch_size}: lower --batch_size"
        )
    for split in ("val", "test"):
        if not len(images.indices(split)):
            raise BadInput(
                f"{'+'.join(images.keys)} leaves no image for the {split} split: give more images, or a {split}/ folder"
            )
    return count // batch_size


def training_batches(
    images: Images,
    batch_size: int,
    seed: int,
    first: int,
    last: int,
    workers: int,
    rank: int = 0,
    ranks: int = 1,
    balanced: bool = False,
) -> Iterator[Batch]:
    """The batches of steps `first` to `last` − 1; each epoch is a new order, its incomplete last batch left out.

    Of `ranks` equal parts of every batch, this is part `rank`. With `balanced` every source has an equal share of an epoch.
    """
    steps = _Steps(images, images.indices("train"), batch_size, seed, rank, ranks, balanced)
    loader: DataLoader[Batch | BadInput] = DataLoader(
        steps, batch_size=None, sampler=range(first, last), num_workers=workers, worker_init_fn=_outlive_signals
    )
    try:
        for item in loader:
            if isinstance(item, BadInput):
                raise item
            yield item
    except (EOFError, ConnectionError) as error:
        # A reader that is killed while it hands over a batch: torch sees its socket close before it sees it dead.
        raise RuntimeError("DataLoader worker ended while it handed over a batch") from error
