"""Which training examples form which batch: a function of seed and epoch alone.

So a resumed run gets the same batches as one that was never stopped, and two processes get halves of the batches that one
would get.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Order = Callable[[int, int], Sequence[int]]
"""Seed and epoch to the order of all positions of an epoch."""


def epoch_batches(
    n: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1, order: Order | None = None
) -> list[list[int]]:
    """This process's share of every batch of an epoch, as positions in [0, n), in random order or in another one.

    All batches of an epoch have the same size, at most `batch_size` over all processes, as a gathered contrastive batch
    must; the few positions that are left out change with every epoch.
    """
    steps = steps_per_epoch(n, batch_size)
    size = n // steps
    positions = (order or random_order(n))(seed, epoch)
    share = size // world
    starts = [step * size + rank * share for step in range(steps)]
    return [positions[start : start + share] for start in starts]


def random_order(n: int) -> Order:
    """Of n positions."""
    return lambda seed, epoch: torch.randperm(
        n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    ).tolist()


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of batches that n examples make."""
    return -(-n // batch_size)
