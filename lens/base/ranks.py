"""Many processes as one run (torchrun): who writes, who measures which images, what they agree on."""

from __future__ import annotations

import datetime
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lens.base.errors import BadInput

if TYPE_CHECKING:
    import lightning_fabric
    import numpy as np
    from torch import Tensor

    Array = np.ndarray[Any, Any]


def launched() -> int:
    """How many processes torchrun has started, on all nodes together; 1 without it.

    Raises BadInput where the environment's numbers are none, or contradict each other.
    """
    if "LOCAL_WORLD_SIZE" not in os.environ:
        return 1
    world = _number("WORLD_SIZE", 1, MOST)
    if world > 1:
        here = _number("LOCAL_WORLD_SIZE", 1, world)
        if "LOCAL_RANK" in os.environ:
            _number("LOCAL_RANK", 0, here - 1)
        _number("RANK", 0, world - 1)
    return world


def own_rank() -> int:
    """This process's number among them, from the environment: known before torch is imported. Raises as `launched`."""
    return int(os.environ["RANK"]) if launched() > 1 else 0


MOST = 2**20
"""Processes of a run, at most."""


def _number(name: str, low: int, high: int) -> int:
    """A whole number from the environment. Raises BadInput where it is missing, none or outside [low, high]."""
    word = os.environ.get(name, "")
    if not (word.isascii() and word.isdecimal() and len(word) < 8 and low <= int(word) <= high):
        raise BadInput(
            f"the environment's {name} is {word!r}: torchrun sets it to a whole number from {low} to {high}; start lens by "
            "torchrun, or unset LOCAL_WORLD_SIZE to run one process"
        )
    return int(word)


GRACE = 30.0
"""Seconds that a rank without a word of its own leaves to the one that has it."""


def let_the_other_speak() -> None:
    """Stay for `GRACE` seconds while another rank says what has ended the run.

    The first process to end makes torchrun end the others, also one that was about to speak; once that one has spoken
    and ended, torchrun ends this one.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    time.sleep(GRACE)
    for number, handler in before.items():  # a caller that lives on must not die of Ctrl-C without a word
        if handler is not None:
            signal.signal(number, handler)


class Ranks:
    """This process's place among those of the run. With one process every method does nothing."""

    def __init__(self, fabric: lightning_fabric.Fabric) -> None:
        self.rank, self.world, self.local_rank = fabric.global_rank, fabric.world_size, fabric.local_rank
        self.control: Any = None
        if self.world > 1:
            from torch import distributed

            # For what the hosts agree on. It waits as long as rank 0 may decode images or fit probes.
            self.control = distributed.new_group(backend="gloo", timeout=datetime.timedelta(days=7))

    @property
    def writes(self) -> bool:
        """Whether this is rank 0, the only one that writes."""
        return self.rank == 0

    def share(self, index: Array, size: int = 1) -> Array:
        """This rank's part of an index: consecutive, and every entry in exactly one rank's; whole batches of `size`."""
        import numpy as np

        mine = np.array_split(np.arange(-(-len(index) // size)), self.world)[self.rank]
        part: Array = index[mine[0] * size : (mine[-1] + 1) * size] if len(mine) else index[:0]
        return part

    def everyone(self, value: Any) -> list[Any]:
        """The ranks' values, in order, on every rank."""
        if self.world == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value, group=self.control)
        return found

    def collect(self, value: Any) -> list[Any] | None:
        """The ranks' values, in order, on rank 0; None on the others."""
        if self.world == 1:
            return [value]
        from torch import distributed

        found: list[Any] | None = [None] * self.world if self.writes else None
        distributed.gather_object(value, found, dst=0, group=self.control)
        return found

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on one rank or more."""
        if self.world == 1:
            return flag
        import torch
        from torch import distributed

        value = torch.tensor(int(flag))
        distributed.all_reduce(value, distributed.ReduceOp.MAX, group=self.control)
        return bool(value)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks, on every rank."""
        if self.world == 1:
            return value
        from torch import distributed

        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.world

    def gather(self, value: Tensor) -> Tensor:
        """The rows of all ranks (E, …), in the ranks' order, on every rank; a gradient goes back to this rank's own rows.

        Every rank computes the same loss of all rows, and the ranks' gradients are averaged: so that their sum arrives,
        the gradient is multiplied by their number.
        """
        if self.world == 1:
            return value
        import torch
        from torch import distributed

        found = [torch.empty_like(value) for _ in range(self.world)]
        distributed.all_gather(found, value.detach().contiguous())
        if value.requires_grad:
            own = value * self.world
            found[self.rank] = found[self.rank] + (own - own.detach())
        return torch.cat(found)

    def broadcast(self, value: Tensor) -> None:
        """Overwrite a tensor with rank 0's."""
        if self.world > 1:
            from torch import distributed

            distributed.broadcast(value, src=0)

    def agree(self, value: object, what: str) -> None:
        """Raise BadInput, on every rank, where the ranks' values differ."""
        values = self.everyone(value)
        if any(other != values[0] for other in values):
            different = [rank for rank, other in enumerate(values) if other != values[0]]
            raise BadInput(f"ranks {different} have other {what} than rank 0: every process must see the same")

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Where one rank fails at what is done here (rank 0 writes), the others end too, without a word of their own."""
        try:
            yield
        except BaseException:
            self.everyone(True)
            raise
        if any(self.everyone(False)):
            let_the_other_speak()
            raise SystemExit(2)

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            from torch import distributed

            distributed.barrier(group=self.control)

    @contextmanager
    def first_on_each_node(self) -> Iterator[None]:
        """What is done here is done by one rank of each node before the others: it builds the cache, they read it."""
        if self.local_rank == 0:
            with self.all_or_none():
                yield
        else:
            with self.all_or_none():
                pass  # the first rank is at it
            yield
