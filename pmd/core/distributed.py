"""Gathering over processes: with gradients, so that every process's entities are everyone's negatives.

A plain all-gather has no gradient and would train on wrong ones without an error. Here the backward pass
sums over processes what each of them sent back; with the mean that data parallelism takes, one loss over
the global batch in every process has the gradient of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item, Found = TypeVar("Item"), TypeVar("Found")


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


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


def gather(tensor: Tensor) -> Tensor:
    """(b, …) of every process -> (world · b, …), in order of rank; differentiable. All must send one shape."""
    if world_size() == 1:
        return tensor
    return _Gather.apply(tensor)


def global_mean(values: Tensor) -> Tensor:
    """Mean over the rows of all processes, each of which may have another number of them, none too.

    Scaled so that the mean of the gradients over processes is the gradient of that mean.
    """
    if world_size() == 1:
        return values.mean() if values.numel() else values.sum()
    count = torch.tensor(float(values.numel()), device=values.device)
    dist.all_reduce(count)
    return values.sum() * world_size() / count.clamp(min=1)


def from_first(drawn: Tensor, device: torch.device) -> Tensor:
    """What the first process has drawn on its CPU, sent by way of `device`.

    Random numbers drift apart where dropout takes as many as texts are long; what all must draw alike comes from one.
    """
    if world_size() == 1:
        return drawn
    sent = drawn.to(device)
    dist.broadcast(sent, 0)
    return sent.cpu()


def shared_out(items: Iterable[Item], work: Callable[[Item], Found]) -> list[Found]:
    """`work` on every item, each process on its share of them; all get all that was found, in any order.

    All must call it with the same items. What is found is pickled, so it should be small and on the CPU.
    """
    if world_size() == 1:
        return [work(item) for item in items]
    own = [work(item) for item in islice(items, dist.get_rank(), None, world_size())]
    parts: list[list[Found]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, own)
    return [found for part in parts for found in part]
