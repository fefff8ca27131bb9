"""The operations that training embeddings spends its time in, with gradients of their own.

Reading rows of a table, and distances between queries and candidates. PyTorch's own gradients of them are two to
five times slower on a CPU. Values and gradients are the same, and tests hold them to it; only where several queries share
candidates and one of them is nearer than a thousandth of its length does the L2 gradient lose digits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EXACT = "donot_use_mm_for_euclid_dist"
"""The kernel that multiplies matrices would lose digits where a query and its answer nearly meet."""


BLOCK = 2**22
"""Numbers that a comparison without a kernel of PyTorch's own holds at a time."""


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.sparse = table.shape, sparse
        return torch.nn.functional.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        ids, gradient = ids.flatten(), gradient.flatten(0, -2)
        if ctx.sparse:
            return torch.sparse_coo_tensor(ids[None], gradient, ctx.shape, check_invariants=False), None, None
        return gradient.new_zeros(ctx.shape).index_add_(0, ids, gradient), None, None


def rows(table: Tensor, ids: Tensor, *, sparse: bool = False) -> Tensor:
    """(num, d) table, integers (…) -> (…, d). `sparse`: the gradient holds only the rows that were read."""
    return _Rows.apply(table, ids, sparse)


class _Euclidean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        distance = torch.cdist(query, candidates, compute_mode=EXACT)
        ctx.save_for_backward(query, candidates, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates, distance = ctx.saved_tensors
        # d‖q − c‖ / dq = (q − c) / ‖q − c‖, and 0 where the two meet.
        pull = torch.where(distance > 0, gradient / distance, 0.0)  # (…, m, n)
        if query.shape[-2] == 1:
            return _one_query((candidates - query).mul_(pull.transpose(-1, -2)))
        to_query = pull.sum(-1, keepdim=True) * query - pull @ candidates
        to_candidates = pull.sum(-2).unsqueeze(-1) * candidates - pull.transpose(-1, -2) @ query
        return to_query, to_candidates


class _Manhattan(torch.autograd.Function):
    """Of a single query for each group of candidates."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(query, candidates)
        return torch.cdist(query, candidates, p=1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates = ctx.saved_tensors
        return _one_query((candidates - query).sign_().mul_(gradient.transpose(-1, -2)))


def _one_query(to_candidates: Tensor) -> tuple[Tensor, Tensor]:
    return -to_candidates.sum(-2, keepdim=True), to_candidates


class _Moduli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(query, candidates)
        if query.ndim == 3:  # one L2 distance in the plane for each dimension: d small problems of one kernel
            planes = query.movedim(-1, 0).contiguous()  # (d, m, 2)
            blocks = _blocks(query, candidates.movedim(-1, 0), dim=1)
            return torch.cat([torch.cdist(planes, block, compute_mode=EXACT).sum(0) for block in blocks], dim=-1)
        parts = [_sizes(_differences(query, block)).sum(-1) for block in _blocks(query, candidates)]
        return torch.cat(parts, dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates = ctx.saved_tensors
        to_query, to_candidates, done = torch.zeros_like(query), torch.empty_like(candidates), 0
        for block in _blocks(query, candidates):
            part = slice(done, done := done + block.shape[-3])
            pull = _differences(query, block)
            sizes = _sizes(pull)
            pull *= torch.where(sizes > 0, gradient[..., part].unsqueeze(-1) / sizes, 0.0).unsqueeze(-2)
            to_query += pull.sum(-3)
            to_candidates[..., part, :, :] = -(pull.squeeze(-4) if query.shape[-3] == 1 else pull.sum(-4))
        return to_query, to_candidates


def _blocks(query: Tensor, candidates: Tensor, dim: int = -3) -> tuple[Tensor, ...]:
    """Candidates in blocks, so that no more than BLOCK numbers are held at a time."""
    return candidates.split(max(1, BLOCK // max(1, query.numel())), dim=dim)


def _differences(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, 2, d), (…, n, 2, d) -> (…, m, n, 2, d)."""
    return query.unsqueeze(-3) - candidates.unsqueeze(-4)


def _sizes(z: Tensor) -> Tensor:
    """(…, 2, d) -> (…, d) moduli."""
    real, imaginary = z.unbind(-2)
    return (real * real).addcmul_(imaginary, imaginary).sqrt_()


def moduli(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, 2, d), (…, n, 2, d) -> (…, m, n): the sum of |q − c| over d complex numbers; equal leading dims."""
    return _Moduli.apply(query, candidates)


def euclidean(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L2 distances; the gradient is 0 where two points meet."""
    return _Euclidean.apply(query, candidates)


def manhattan(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L1 distances."""
    return _Manhattan.apply(query, candidates) if query.shape[-2] == 1 else torch.cdist(query, candidates, p=1.0)
