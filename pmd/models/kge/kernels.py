"""The operations that training embeddings spends its time in, with gradients of their own.

Reading rows of a table, and distances between queries and candidates. PyTorch's own gradients of them are two to
five times slower on a CPU. Values and gradients are the same, and tests hold them to it; only where several queries share
candidates and one of them is nearer than a thousandth of its length does the L2 gradient lose digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

EXACT = "donot_use_mm_for_euclid_dist"
"""PyTorch's own product of matrices, in single precision, loses digits where a query and its answer nearly meet."""

BLOCK = 2**20
"""Numbers that a comparison holds at a time on a CPU: few enough for its cache."""

WIDE_BLOCK = 2**26
"""The same on other devices, where a step must be large to pay."""

TINY = 2.0**-100
"""Smaller squares lose digits in single precision, and in the end are 0. An even power: roots do not cross there."""

SHORT = 1e-14
"""Only points whose squared lengths are smaller have a distance that is so small, and more than the error of a product."""

SHY = 1e-14
"""The part of squared lengths that is more than the error of a product in double precision."""


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, sparse: bool, *ids: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*ids)
        ctx.shape, ctx.sparse = table.shape, sparse
        return tuple(torch.nn.functional.embedding(part, table) for part in ids)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ids = [part.flatten() for part in ctx.saved_tensors]
        values = [gradient.flatten(0, -2) for gradient in gradients]
        if ctx.sparse:
            places = torch.cat(ids)[None]
            total = torch.sparse_coo_tensor(places, torch.cat(values), ctx.shape, check_invariants=False)
        else:
            total = values[0].new_zeros(ctx.shape)
            for part, value in zip(ids, values):
                total.index_add_(0, part, value)
        return total, None, *(None for _ in ids)


def rows(table: Tensor, *ids: Tensor, sparse: bool = False) -> tuple[Tensor, ...]:
    """(num, d) table, integers (…) each -> (…, d) each; their gradients are added up in one table.

    `sparse`: the gradient holds only the rows that were read.
    """
    return _Rows.apply(table, sparse, *ids)


class _Euclidean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        shared = query.ndim == 2 or query.shape[-2] > 1  # candidates of one query of its own: nothing to multiply
        fast = query.device.type == "cpu" and shared and query.dtype != torch.double
        distance = _by_product(query, candidates) if fast else torch.cdist(query, candidates, compute_mode=EXACT)
        ctx.save_for_backward(query, candidates, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates, distance = ctx.saved_tensors
        # d‖q − c‖ / dq = (q − c) / ‖q − c‖, and 0 where the two meet.
        pull = torch.where(distance > 0, gradient / distance, 0.0)  # (…, m, n)
        if query.shape[-2] == 1:
            to_candidates = (candidates - query).mul_(pull.transpose(-1, -2))
            return -to_candidates.sum(-2, keepdim=True), to_candidates
        to_query = pull.sum(-1, keepdim=True) * query - pull @ candidates
        to_candidates = pull.sum(-2).unsqueeze(-1) * candidates - pull.transpose(-1, -2) @ query
        return to_query, to_candidates


def _by_product(query: Tensor, candidates: Tensor) -> Tensor:
    """The root of ‖q‖² + ‖c‖² − 2 q·c, one product of matrices in double precision, in the precision of `query`.

    Six times faster than to subtract, and nearer to the true distance than that is in single precision, save where
    the distance is less than a ten-thousandth of the lengths, and the points themselves are not known so well.
    """
    m, n = query.shape[-2], candidates.shape[-2]
    distance = query.new_empty(*torch.broadcast_shapes(query.shape[:-2], candidates.shape[:-2]), m, n)
    query, of_query = query.double(), _squares(query)
    query = torch.cat([-2 * query, of_query, torch.ones_like(of_query)], dim=-1)
    short = bool((of_query < SHORT).any())
    size = max(1, BLOCK // 4 // (query[..., 0].numel() + 2 * query.shape[-1]))  # doubles, and three tables of them
    for block, out in zip(candidates.split(size, dim=-2), distance.split(size, dim=-1)):
        of_block = _squares(block)
        block = torch.cat([block.double(), torch.ones_like(of_block), of_block], dim=-1)
        squared = query @ block.transpose(-1, -2)
        if short and (of_block < SHORT).any():
            out.copy_(rooted(squared))
        else:
            out.copy_(squared).clamp_(min=0).sqrt_()
    return distance


def rooted(squared: Tensor) -> Tensor:
    """Roots, in single precision, of squares in double: those that single precision has no room for are rounded last."""
    squared = squared.clamp(min=0)
    return torch.where(squared < TINY, squared.sqrt().float(), squared.float().sqrt_())


def _squares(x: Tensor) -> Tensor:
    """(…, d) -> (…, 1) squared lengths, a trifle shorter, so that two points that meet are at distance 0."""
    return x.double().square().sum(-1, keepdim=True) * (1 - SHY)


class _Moduli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(query, candidates)
        total = query.new_empty(_shape(query, candidates))
        for part in _blocks(query, candidates):
            total[..., part] = _sizes(_differences(query, candidates[..., part, :, :])).sum(-1)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates = ctx.saved_tensors
        *batch, m, n = _shape(query, candidates)
        to_query = query.new_zeros(*batch, m, *query.shape[-2:])
        to_candidates = candidates.new_empty(*batch, n, *candidates.shape[-2:])
        for part in _blocks(query, candidates):
            pull, weight = _differences(query, candidates[..., part, :, :]), gradient[..., part].unsqueeze(-1)
            if len(pull) == 1:
                pull[0].sign_()
            else:
                sizes = _sizes(pull)
                weight = torch.where(sizes > 0, weight / sizes, 0.0)
            for i, one in enumerate(pull):
                one *= weight
                to_query[..., i, :] += one.sum(-2)
                to_candidates[..., part, i, :] = -(one.squeeze(-3) if m == 1 else one.sum(-3))
        return to_query, to_candidates


def _shape(query: Tensor, candidates: Tensor) -> tuple[int, ...]:
    """(…, m, n) of (…, m, parts, d) and (…, n, parts, d)."""
    batch = torch.broadcast_shapes(query.shape[:-3], candidates.shape[:-3])
    return (*batch, query.shape[-3], candidates.shape[-3])


def _blocks(query: Tensor, candidates: Tensor) -> Iterator[slice]:
    """Blocks of the candidates of which no more than BLOCK differences are held at a time."""
    block = BLOCK if query.device.type == "cpu" else WIDE_BLOCK
    size = max(1, block // max(1, query[..., 0, :].numel()))
    return (slice(start, start + size) for start in range(0, candidates.shape[-3], size))


def _differences(query: Tensor, candidates: Tensor) -> list[Tensor]:
    """(…, m, parts, d), (…, n, parts, d) -> (…, m, n, d) for each part."""
    return [q.unsqueeze(-2) - c.unsqueeze(-3) for q, c in zip(query.unbind(-2), candidates.unbind(-2))]


def _sizes(differences: list[Tensor]) -> Tensor:
    """Absolute values of real (one part) or complex numbers."""
    if len(differences) == 1:
        return differences[0].abs_()
    real, imaginary = differences
    return (real * real).addcmul_(imaginary, imaginary).sqrt_()


def euclidean(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L2 distances; the gradient is 0 where two points meet."""
    return _Euclidean.apply(query, candidates)


def manhattan(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L1 distances."""
    return moduli(query.unsqueeze(-2), candidates.unsqueeze(-2))


def moduli(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, parts, d), (…, n, parts, d) -> (…, m, n): the sum of |q − c| over d numbers, real (1 part) or complex (2).

    Complex differences under 1e-19 lose digits, and under 1e-23 count as 0, as their squares do in single precision.
    """
    return _Moduli.apply(query, candidates)
