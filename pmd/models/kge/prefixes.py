"""Scores of all prefixes of an embedding for about the price of one.

What a dimension adds to a comparison, its *term*, does not depend on the width. So the terms of the widest model are
computed once, summed between one width and the next (`block_sums`), and these few sums accumulated (`accumulate`): n
scores from one pass. MED (Zhu et al., ACL 2025) trains and ranks n sub-models this way.

Example, widths (1, 3), squared differences of q = (1, 2, 0) and c = (0, 2, 3):

    terms (q − c)²     1   0   9
    block sizes        1       2
    block sums         1       9
    running sums       1       10     = the squared distance at width 1, and at width 3
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

TermKind = Literal["squared", "moduli", "product"]
"""What a dimension adds: |q − c|², |q − c|, or q·c, where a number may have two parts (real and imaginary)."""

CPU_BLOCK = 2**17
"""Terms that are held at a time on a CPU: few enough for its cache."""

DEVICE_BLOCK = 2**27
"""The same on other devices, where only large steps pay."""


def block_sizes(widths: Sequence[int]) -> tuple[int, ...]:
    """How many dimensions each width has more than the one before it."""
    return tuple(width - narrower for narrower, width in zip((0, *widths), widths))


def running_sums(terms: Tensor, widths: Sequence[int], scale: float = 1.0) -> Tensor:
    """Terms (…, dim) -> (…, n): the sum of the first widths[i] terms, for increasing widths.

    `scale` is that of `accumulate`.
    """
    sizes, terms = block_sizes(widths), terms[..., : widths[-1]]
    if len(set(sizes)) == 1:
        sums = terms.unflatten(-1, (len(sizes), sizes[0])).sum(-1)
    else:
        sums = torch.stack([block.sum(-1) for block in terms.split(sizes, dim=-1)], dim=-1)
    return accumulate(sums, -1, scale)


def accumulate(sums: Tensor, dim: int, scale: float = 1.0) -> Tensor:
    """Running sums over `dim`, whose gradients for earlier blocks are multiplied by `scale`.

    Values do not depend on `scale`. With 1 it is a cumulative sum; with 0 every sub-model trains only the dimensions that
    it has more than the one before, and takes the others as they are.

    Example: three blocks, and a gradient of 1 for each of the three running sums. The first block is part of all three, so
    it receives 1 + scale · 2, the second 1 + scale · 1, the third 1: (3, 2, 1) with scale 1, (2, 1.5, 1) with 0.5, and
    (1, 1, 1) with 0.
    """
    return _Accumulate.apply(sums, dim, scale)


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, dim: int, scale: float) -> Tensor:
        ctx.dim, ctx.scale = dim, scale
        return _cumulative_sum(sums, dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.scale == 0:
            return gradient, None, None
        # gradient + scale · (full − gradient): a block's own width counts in full, the wider ones by `scale`.
        full = _cumulative_sum(gradient, ctx.dim, from_end=True)
        return full if ctx.scale == 1 else gradient.lerp(full, ctx.scale), None, None


def _cumulative_sum(x: Tensor, dim: int, from_end: bool = False) -> Tensor:
    """`x.cumsum(dim)`, or the same from the end on. Over whole tables (dim 0) a loop is ten times faster on a CPU."""
    if x.device.type != "cpu" or dim != 0:
        return x.flip(dim).cumsum(dim).flip(dim) if from_end else x.cumsum(dim)
    out = x.clone()  # each table becomes the sum of itself and of all before it
    for before, table in itertools.pairwise(out.unbind(0)[:: -1 if from_end else 1]):
        table += before
    return out


def block_sums(kind: TermKind, query: Tensor, candidates: Tensor, sizes: Sequence[int]) -> Tensor:
    """Compare queries with candidates, block of dimensions by block.

    Args:
        kind: what a dimension adds.
        query: (g, m, parts, d).
        candidates: (g, k, parts, d), those of the m queries of each group.
        sizes: of the n blocks; they add up to d.

    Returns:
        (n, g, m, k) sums, so that those of one width lie together. No more than CPU_BLOCK (or DEVICE_BLOCK) of the
        g · m · k · d terms are held at a time, forward and backward.
    """
    return _BlockSums.apply(query, candidates, kind, tuple(sizes))


class _BlockSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor, kind: TermKind, sizes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(query, candidates)
        ctx.kind, ctx.sizes = kind, sizes
        out = query.new_empty(len(sizes), *query.shape[:2], candidates.shape[1])
        for groups, columns in _pieces(query, candidates):
            # (g', m, 1, parts, d) and (g', 1, k', parts, d)
            q, c = query[groups].unsqueeze(2), candidates[groups, columns].unsqueeze(1)
            terms = TERMS[kind](c * q if kind == "product" else c - q)
            out[:, groups, :, columns] = _sum_blocks(terms, sizes)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, candidates = ctx.saved_tensors
        to_query, to_candidates = torch.zeros_like(query), torch.empty_like(candidates)
        single = query.shape[1] == 1  # one query in each group: its candidates' gradient is computed in place
        for groups, columns in _pieces(query, candidates):
            q, c = query[groups].unsqueeze(2), candidates[groups, columns].unsqueeze(1)
            factor = _repeat_blocks(gradient[:, groups, :, columns].movedim(0, -1), ctx.sizes)  # (g', m, k', d)
            out = to_candidates[groups, columns].unsqueeze(1) if single else None
            if ctx.kind == "product":
                each = torch.mul(q, factor.unsqueeze(3), out=out)
                to_query[groups] += (c * factor.unsqueeze(3)).sum(2)
            else:
                each = TERM_GRADIENTS[ctx.kind](torch.sub(c, q, out=out), factor)
                to_query[groups] -= each.sum(2)  # c − q: the query's gradient is the opposite
            if not single:
                to_candidates[groups, columns] = each.sum(1)
        return to_query, to_candidates, None, None


def _pieces(query: Tensor, candidates: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of the groups and of their candidates with at most CPU_BLOCK (or DEVICE_BLOCK) terms each: whole groups where
    they fit, else part of the candidates of one."""
    groups, m, _, d = query.shape
    k = candidates.shape[1]
    block = CPU_BLOCK if query.device.type == "cpu" else DEVICE_BLOCK
    step = max(1, block // max(1, m * k * d))
    part = k if step > 1 else max(1, block // max(1, m * d))
    for start in range(0, groups, step):
        for column in range(0, k, part):
            yield slice(start, start + step), slice(column, column + part)


def _squares(x: Tensor) -> Tensor:
    return _sum_of_parts(x.mul_(x))


def _moduli(x: Tensor) -> Tensor:
    return x.abs_().squeeze(-2) if x.shape[-2] == 1 else _squares(x).sqrt_()


def _sum_of_parts(x: Tensor) -> Tensor:
    first, *others = x.unbind(-2)
    for other in others:
        first.add_(other)
    return first


TERMS: dict[TermKind, Callable[[Tensor], Tensor]] = {"squared": _squares, "moduli": _moduli, "product": _sum_of_parts}
"""The term of every dimension, (…, parts, d) -> (…, d), from differences or from products, which are overwritten."""


def _gradient_of_squares(x: Tensor, factor: Tensor) -> Tensor:
    return x.mul_(factor.mul_(2).unsqueeze(-2))


def _gradient_of_moduli(x: Tensor, factor: Tensor) -> Tensor:
    if x.shape[-2] == 1:
        return x.sign_().mul_(factor.unsqueeze(-2))
    moduli = _squares(x.clone()).sqrt_()
    factor.div_(moduli.masked_fill_(moduli == 0, 1))  # where the modulus is 0 the difference is too
    return x.mul_(factor.unsqueeze(-2))


TERM_GRADIENTS: dict[TermKind, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": _gradient_of_squares,
    "moduli": _gradient_of_moduli,
}
"""The gradient of the candidates from the differences c − q (…, parts, d) and the gradient of the terms (…, d). Both are
overwritten."""


def _sum_blocks(terms: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, d) -> (n, g, m, k)."""
    if len(set(sizes)) == 1:
        return terms.unflatten(-1, (len(sizes), sizes[0])).sum(-1).movedim(-1, 0)
    return torch.stack([block.sum(-1) for block in terms.split(sizes, dim=-1)])


def _repeat_blocks(factors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, n) -> (g, m, k, d): the factor of a block for each of its dimensions, as a copy."""
    if len(set(sizes)) == 1:
        repeated = factors.unsqueeze(-1).expand(*factors.shape, sizes[0])
        return repeated.clone(memory_format=torch.contiguous_format).flatten(-2)
    return torch.cat([f.unsqueeze(-1).expand(*f.shape, size) for f, size in zip(factors.unbind(-1), sizes)], dim=-1)
