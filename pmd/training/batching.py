"""Which training examples form which batch: a function of seed and epoch alone.

So a resumed run gets the same batches as one that was never stopped, and several processes share the batches that one would
get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.distributed import share_of

Order = Callable[[int, int], Sequence[int] | Tensor | np.ndarray]
"""Seed and epoch to the order of all positions of an epoch."""


def epoch_batches(n: int, batch_size: int, *, seed: int, epoch: int, order: Order | None = None) -> Sequence[list[int]]:
    """Every batch of an epoch, as positions in [0, n), in random order or in another one.

    All batches of an epoch have the same size, at most `batch_size`; the few positions that are left out change with every
    epoch.
    """
    steps = steps_per_epoch(n, batch_size)
    size = n // steps
    positions = (order or random_order(n))(seed, epoch)
    return _Batches(positions, range(0, steps * size, size))


@dataclass(frozen=True, eq=False)
class _Batches(Sequence[list[int]]):
    """Parts of an order: lists of Python integers are made when they are read, for an epoch may have tens of millions."""

    positions: Sequence[int] | Tensor | np.ndarray
    starts: range

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, batch):
        if isinstance(batch, slice):
            return replace(self, starts=self.starts[batch])
        part = self.positions[self.starts[batch] : self.starts[batch] + self.starts.step]
        return part.tolist() if isinstance(part, Tensor | np.ndarray) else part


def share_of_batch(collate: Callable[..., Any], process: int, processes: int, positions: Sequence[int]) -> Any:
    """One process's share of the batch of these positions: what `collate.share` makes of it where there is one, else the
    batch of a share of the positions."""
    if processes == 1:
        return collate(positions)
    if hasattr(collate, "share"):
        return collate.share(positions, process, processes)
    return collate(positions[share_of(len(positions), process, processes)])


def random_order(n: int) -> Order:
    """Of n positions."""
    return lambda seed, epoch: torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of batches that n examples make."""
    return -(-n // batch_size)
