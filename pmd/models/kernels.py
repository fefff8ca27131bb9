"""The two operations that training embeddings spends its time in, with gradients of their own.

Reading rows of a table, and distances between queries and candidates. PyTorch has both; its gradients are two to
five times slower on a CPU than these. Values and gradients are the same, and tests hold them to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EXACT = "donot_use_mm_for_euclid_dist"
"""The kernel that multiplies matrices would lose digits where a query and its answer nearly meet."""


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


def euclidean(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L2 distances; the gradient is 0 where two points meet."""
    return _Euclidean.apply(query, candidates)


def manhattan(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L1 distances."""
    return _Manhattan.apply(query, candidates) if query.shape[-2] == 1 else torch.cdist(query, candidates, p=1.0)
