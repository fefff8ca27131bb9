"""Which training examples form which batch: a function of seed and epoch alone.

So a resumed run gets the same batches as one that was never stopped, and two processes get halves of the batches that one
would get.
"""

from __future__ import annotations

import torch


def epoch_batches(n: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """This process's share of every batch of an epoch, as positions in [0, n).

    All batches of an epoch have the same size, at most `batch_size` over all processes, as a gathered contrastive batch
    must; the few positions that are left out change with every epoch.
    """
    steps = steps_per_epoch(n, batch_size)
    size = n // steps
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
    share = size // world
    starts = [step * size + rank * share for step in range(steps)]
    return [order[start : start + share] for start in starts]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of batches that n examples make."""
    return -(-n // batch_size)
