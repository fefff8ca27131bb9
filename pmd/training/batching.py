"""Which training examples form which batch: a function of seed and epoch alone.

So a resumed run gets the same batches as one that was never stopped, and two processes get halves of the batches that one
would get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Order = Callable[[int, int], Sequence[int] | Tensor]
"""Seed and epoch to the order of all positions of an epoch."""


def epoch_batches(
    n: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1, order: Order | None = None
) -> Sequence[list[int]]:
    """This process's share of every batch of an epoch, as positions in [0, n), in random order or in another one.

    All batches of an epoch have the same size, at most `batch_size` over all processes, as a gathered contrastive batch
    must; the few positions that are left out change with every epoch.
    """
    steps = steps_per_epoch(n, batch_size)
    size = n // steps
    positions = (order or random_order(n))(seed, epoch)
    share = size // world
    return _Batches(positions, range(rank * share, rank * share + steps * size, size), share)


@dataclass(frozen=True, eq=False)
class _Batches(Sequence[list[int]]):
    """Parts of an order: lists of Python integers are made when they are read, for an epoch may have tens of millions."""

    positions: Sequence[int] | Tensor
    starts: range
    share: int

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, batch):
        if isinstance(batch, slice):
            return replace(self, starts=self.starts[batch])
        part = self.positions[self.starts[batch] : self.starts[batch] + self.share]
        return part.tolist() if isinstance(part, Tensor) else part


def random_order(n: int) -> Order:
    """Of n positions."""
    return lambda seed, epoch: torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of batches that n examples make."""
    return -(-n // batch_size)
