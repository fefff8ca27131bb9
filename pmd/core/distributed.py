"""Sums, means and gathering over processes, with the gradients that training needs.

A plain all-gather has no gradient: training would be wrong without any error. Here the backward pass sums the gradients
of all processes. Data parallelism then takes the mean over processes, so that the loss of the global batch, computed in
every process, has the gradient of a single process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pmd.core.errors import PmdError

Item, Result = TypeVar("Item"), TypeVar("Result")

BLOCK = 2**24
"""Numbers that are added up over processes at a time."""


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def share_of(count: int, process: int, processes: int) -> slice:
    """Which of `count` things in a row are those of one of so many processes: as many as of any other, or one fewer.

    Example: of 5 things the first of two processes has 0 and 1, the second 2, 3 and 4.
    """
    return slice(count * process // processes, count * (process + 1) // processes)


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if world_size() > 1:
        dist.barrier()


def refuse_processes() -> None:
    """PmdError if several processes were started for what is not shared."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:
        raise PmdError(
            f"{started} processes were started, and each would do and write the same; start one, with `python`"
        )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[dist.get_rank()]


def all_gather(tensor: Tensor) -> Tensor:
    """(b, …) of every process -> (sum of all b, …) in order of rank, differentiable; the numbers b may differ."""
    if world_size() == 1:
        return tensor
    counts = torch.zeros(world_size(), dtype=torch.long, device=tensor.device)
    counts[rank()] = len(tensor)
    dist.all_reduce(counts)
    counts = counts.tolist()
    missing = max(counts) - len(tensor)
    gathered = _Gather.apply(torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])]) if missing else tensor)
    if len({*counts}) == 1:
        return gathered
    return torch.cat([part[:count] for part, count in zip(gathered.chunk(world_size()), counts)])


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum over processes of tensors of one shape, without gradients."""
    total = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def means_over_processes(values: Sequence[Tensor]) -> list[float]:
    """The means over the processes of several scalars."""
    if world_size() == 1:
        return [float(value.detach()) for value in values]
    total = sum_over_processes(torch.stack([value.detach().float() for value in values]))
    return (total / world_size()).tolist()


def global_mean(values: Tensor) -> Tensor:
    """Mean over the values of all processes, which may have different numbers of them, even none.

    It is scaled so that the mean of the gradients over processes is the gradient of that mean.
    """
    if world_size() == 1:
        return values.mean() if values.numel() else values.sum()
    count = torch.tensor(float(values.numel()), device=values.device)
    dist.all_reduce(count)
    return values.sum() * world_size() / count.clamp(min=1)


def relative_weights(weights: Tensor) -> Tensor:
    """Weights (b,) over the mean of those of all processes: the mean of values times these, over all rows of all processes, is
    the values' weighted mean. All 0 where all are.

    Example: of (1, 3) the mean is 2, and values (4, 8) times (½, 3/2) have the mean (2 + 12) / 2 = (1·4 + 3·8) / (1 + 3).
    """
    total = torch.stack([weights.sum(), weights.new_tensor(weights.numel())])
    if world_size() > 1:
        dist.all_reduce(total)
    return weights / (total[0] / total[1]).clamp(min=torch.finfo(weights.dtype).tiny)


def broadcast_first(tensor: Tensor, device: torch.device) -> Tensor:
    """The first process's CPU tensor, in all processes; it is sent by way of `device`.

    For random numbers that all processes must share: their own generators drift apart, since how many numbers dropout
    draws depends on the length of a process's texts.
    """
    if world_size() == 1:
        return tensor
    sent = tensor.to(device)
    dist.broadcast(sent, 0)
    return sent.cpu()


@contextmanager
def together() -> Iterator[None]:
    """What fails in one process within this fails in all, which meet at its end; all must come here.

    Else the others would wait for the one that failed wherever they meet next, until the launcher ends them.
    """
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        if world_size() == 1:
            raise
        failed = error
    failures: list[Any] = [None] * world_size()
    if world_size() > 1:
        dist.all_gather_object(failures, None if failed is None else (isinstance(failed, PmdError), str(failed)))
    if failed is not None:
        raise failed
    for process, failure in enumerate(failures):
        if failure is not None:
            expected, message = failure
            raise PmdError(message) if expected else RuntimeError(f"process {process} failed: {message}")


def map_shared(items: Iterable[Item], function: Callable[[Item], Result]) -> list[Result]:
    """The results of `function` for all items, in their order; each process computes its share, and all get all results.

    All must call it with the same items. Results are pickled, so they should be small and on the CPU. What fails in one
    process fails in all.
    """
    if world_size() == 1:
        return [function(item) for item in items]
    with together():
        share = [function(item) for item in islice(items, rank(), None, world_size())]
    shares: list[list[Result]] = [[] for _ in range(world_size())]
    dist.all_gather_object(shares, share)
    return [shares[i % world_size()][i // world_size()] for i in range(sum(map(len, shares)))]


def add_parts(whole: Tensor) -> Tensor:
    """Add up in place, over processes, a tensor of which each has filled a part and left the rest 0; returns it."""
    if world_size() > 1:
        by_way_of = "cuda" if dist.get_backend() == "nccl" else whole.device
        for block in whole.split(max(1, BLOCK // max(1, whole[:1].numel()))):
            sent = block.to(by_way_of)
            dist.all_reduce(sent)
            if sent is not block:
                block.copy_(sent)
    return whole
