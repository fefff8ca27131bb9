"""The operations in which training embeddings spends its time, with hand-written gradients.

Two things: reading rows of a table (`read_rows`), and distances of all queries to all candidates (`euclidean`,
`manhattan`, `sum_of_moduli`). PyTorch's own gradients of these are two to five times slower on a CPU. Values and gradients
are the same, and tests hold them to it, with one exception: where several queries share candidates and one of them is
nearer than a thousandth of its length, the L2 gradient loses digits.

Example, with m = 1 query q = (1, 2) and n = 2 candidates (1, 2) and (4, −2): `euclidean` gives (0, 5), `manhattan` gives
(0, 7), and `sum_of_moduli` of q as the one complex number 1 + 2i gives (0, |−3 + 4i|) = (0, 5). The gradient of the 5 is
(q − c) / 5 = (−0.6, 0.8) for the query and the opposite for the candidate; that of the 0, where the points meet, is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

EXACT_CDIST = "donot_use_mm_for_euclid_dist"
"""The mode of `torch.cdist` that subtracts. Its own matrix product is in single precision and loses digits where a query
and its answer nearly meet."""

CPU_BLOCK = 2**20
"""Numbers that a comparison holds at a time on a CPU: few enough for its cache."""

DEVICE_BLOCK = 2**26
"""The same on other devices, where only large steps pay."""

SMALLEST_SQUARE = 2.0**-100
"""Squares below this lose digits in single precision, and at last are 0. An even power of two: its root is exact, so
rounding before or after the root cannot swap two distances across it. A distance of 1e-20 has the square 1e-40, of which single
precision keeps four digits, while the distance itself has all of them: there the root is taken first."""

SHORT_SQUARE = 1e-14
"""Distances below the root of `SMALLEST_SQUARE` that are larger than the error of a matrix product occur only between points
whose squared lengths are below this: at lengths of 1 a squared distance of 2^-100 = 8e-31 is lost in an error of 1e-14, and it
shows only where the squared lengths are below 8e-31 / 1e-14 = 8e-17."""

PRODUCT_ERROR = 1e-14
"""More than the relative error of a squared length and of a matrix product in double precision."""


class _ReadRows(torch.autograd.Function):
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
            indices = torch.cat(ids)[None]
            total = torch.sparse_coo_tensor(indices, torch.cat(values), ctx.shape, check_invariants=False)
        else:
            total = values[0].new_zeros(ctx.shape)
            for part, value in zip(ids, values):
                total.index_add_(0, part, value)
        return total, None, *(None for _ in ids)


def read_rows(table: Tensor, *ids: Tensor, sparse: bool = False) -> tuple[Tensor, ...]:
    """A table (num, d) and integers (…) each -> rows (…, d) each; all their gradients are added up in one table.

    `sparse`: the gradient holds only the rows that were read.
    """
    return _ReadRows.apply(table, sparse, *ids)


class _Euclidean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        shared = query.ndim == 2 or query.shape[-2] > 1  # candidates of a single query: a matrix product gains nothing
        fast = query.device.type == "cpu" and shared and query.dtype != torch.double
        if fast:
            distance = _distances_by_product(query, candidates)
        else:
            distance = torch.cdist(query, candidates, compute_mode=EXACT_CDIST)
        ctx.save_for_backward(query, candidates, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates, distance = ctx.saved_tensors
        # d‖q − c‖ / dq = (q − c) / ‖q − c‖, and 0 where the two meet.
        factor = torch.where(distance > 0, gradient / distance, 0.0)  # (…, m, n)
        if query.shape[-2] == 1:
            to_candidates = (candidates - query).mul_(factor.transpose(-1, -2))
            return -to_candidates.sum(-2, keepdim=True), to_candidates
        # Σ_j f_ij (q_i − c_j) = (Σ_j f_ij) q_i − (f c)_i: two matrix products instead of all m · n differences.
        to_query = factor.sum(-1, keepdim=True) * query - factor @ candidates
        to_candidates = factor.sum(-2).unsqueeze(-1) * candidates - factor.transpose(-1, -2) @ query
        return to_query, to_candidates


def _distances_by_product(query: Tensor, candidates: Tensor) -> Tensor:
    """The root of ‖q‖² + ‖c‖² − 2 q·c, as one matrix product in double precision, returned in the precision of `query`.

    The row (−2q, ‖q‖², 1) times the column (c, 1, ‖c‖²) is the squared distance. For q = (1, 2) and c = (4, −2):
    (−2, −4, 5, 1) · (4, −2, 1, 20) = −8 + 8 + 5 + 20 = 25, the square of 5.

    Six times faster than subtracting, and closer to the true distance than subtracting in single precision, except where
    the distance is less than a ten-thousandth of the lengths: there the points themselves are not known so precisely.
    """
    m, n = query.shape[-2], candidates.shape[-2]
    distance = query.new_empty(*torch.broadcast_shapes(query.shape[:-2], candidates.shape[:-2]), m, n)
    query, query_squared = query.double(), _squared_lengths(query)
    query = torch.cat([-2 * query, query_squared, torch.ones_like(query_squared)], dim=-1)
    short = bool((query_squared < SHORT_SQUARE).any())
    # A candidate brings one number for each query, and its own numbers twice: as doubles, then with two more. A quarter of
    # CPU_BLOCK, for a double is as large as two numbers in single precision, and roots are tables of their own.
    size = max(1, CPU_BLOCK // 4 // (query[..., 0].numel() + 2 * query.shape[-1]))
    for block, out in zip(candidates.split(size, dim=-2), distance.split(size, dim=-1)):
        block_squared = _squared_lengths(block)
        block = torch.cat([block.double(), torch.ones_like(block_squared), block_squared], dim=-1)
        squared = query @ block.transpose(-1, -2)
        if short and (block_squared < SHORT_SQUARE).any():
            out.copy_(single_roots(squared))
        else:
            out.copy_(squared).clamp_(min=0).sqrt_()
    return distance


def single_roots(squared: Tensor) -> Tensor:
    """Roots, in single precision, of squares in double precision.

    A square is rounded first and its root taken then; one too small for single precision is rounded after the root.
    """
    squared = squared.clamp(min=0)
    return torch.where(squared < SMALLEST_SQUARE, squared.sqrt().float(), squared.float().sqrt_())


def _squared_lengths(x: Tensor) -> Tensor:
    """(…, d) -> (…, 1) squared lengths, shortened by their own error, so that points that meet are at distance 0."""
    return x.double().square().sum(-1, keepdim=True) * (1 - PRODUCT_ERROR)


class _SumOfModuli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor) -> Tensor:
        ctx.save_for_backward(query, candidates)
        total = query.new_empty(_table_shape(query, candidates))
        for block in _candidate_blocks(query, candidates):
            total[..., block] = _moduli(_differences(query, candidates[..., block, :, :])).sum(-1)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        query, candidates = ctx.saved_tensors
        *batch, m, n = _table_shape(query, candidates)
        to_query = query.new_zeros(*batch, m, *query.shape[-2:])
        to_candidates = candidates.new_empty(*batch, n, *candidates.shape[-2:])
        for block in _candidate_blocks(query, candidates):
            # d|z| / dz = z / |z|: the sign of a real number, the direction of a complex one, and 0 at 0.
            slopes, weight = _differences(query, candidates[..., block, :, :]), gradient[..., block].unsqueeze(-1)
            if len(slopes) == 1:
                slopes[0].sign_()
            else:
                moduli = _moduli(slopes)
                weight = torch.where(moduli > 0, weight / moduli, 0.0)
            for i, slope in enumerate(slopes):
                slope *= weight
                to_query[..., i, :] += slope.sum(-2)
                to_candidates[..., block, i, :] = -(slope.squeeze(-3) if m == 1 else slope.sum(-3))
        return to_query, to_candidates


def _table_shape(query: Tensor, candidates: Tensor) -> tuple[int, ...]:
    """(…, m, n) of queries (…, m, parts, d) and candidates (…, n, parts, d)."""
    batch = torch.broadcast_shapes(query.shape[:-3], candidates.shape[:-3])
    return (*batch, query.shape[-3], candidates.shape[-3])


def _candidate_blocks(query: Tensor, candidates: Tensor) -> Iterator[slice]:
    """Blocks of candidates for which no more than CPU_BLOCK (or DEVICE_BLOCK) differences are held at a time."""
    block = CPU_BLOCK if query.device.type == "cpu" else DEVICE_BLOCK
    size = max(1, block // max(1, query[..., 0, :].numel()))
    return (slice(start, start + size) for start in range(0, candidates.shape[-3], size))


def _differences(query: Tensor, candidates: Tensor) -> list[Tensor]:
    """(…, m, parts, d), (…, n, parts, d) -> (…, m, n, d) for each part."""
    return [q.unsqueeze(-2) - c.unsqueeze(-3) for q, c in zip(query.unbind(-2), candidates.unbind(-2))]


def _moduli(parts: list[Tensor]) -> Tensor:
    """Moduli of real numbers (one part, overwritten) or of complex ones (two parts)."""
    if len(parts) == 1:
        return parts[0].abs_()
    real, imaginary = parts
    return (real * real).addcmul_(imaginary, imaginary).sqrt_()


def euclidean(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L2 distances; the gradient is 0 where two points meet."""
    return _Euclidean.apply(query, candidates)


def manhattan(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, d), (…, n, d) -> (…, m, n) L1 distances."""
    return sum_of_moduli(query.unsqueeze(-2), candidates.unsqueeze(-2))


def sum_of_moduli(query: Tensor, candidates: Tensor) -> Tensor:
    """(…, m, parts, d), (…, n, parts, d) -> (…, m, n): the sum of |q − c| over d numbers, real (1 part) or complex (2).

    Complex differences below 1e-19 lose digits and below 1e-23 count as 0, as their squares do in single precision.
    """
    return _SumOfModuli.apply(query, candidates)


def grouped(rows: Tensor, groups: int) -> Tensor:
    """(b, parts, dim) -> (groups, ⌈b / groups⌉, parts, dim); the last group is filled up with zeros."""
    size = -(-len(rows) // groups)
    missing = groups * size - len(rows)
    return pad(rows, (0, 0, 0, 0, 0, missing)).unflatten(0, (groups, size))


def at_least_single(scores: Tensor) -> Tensor:
    """Scores in single precision where mixed precision made them half."""
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
