"""Scores of all prefixes of an embedding for about the price of one.

What a dimension adds to a comparison does not depend on the width. So the terms of the widest model are computed once,
summed between one width and the next, and the few sums accumulated: n scores from one pass (MED, Zhu et al., ACL 2025,
trains and ranks n sub-models that way).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Terms = Literal["squared", "moduli", "product"]
"""What a dimension adds: |q − c|², |q − c|, or q·c, each over the parts of a number."""

BLOCK = 2**17
"""Numbers that are compared at a time on a CPU: few enough for its cache."""

WIDE_BLOCK = 2**27
"""The same on other devices, where a step must be large to pay."""

CONTIGUOUS = torch.contiguous_format


def sizes_of(widths: Sequence[int]) -> tuple[int, ...]:
    """How many dimensions each width has more than the one before."""
    return tuple(width - before for before, width in zip((0, *widths), widths))


def running_sums(terms: Tensor, widths: Sequence[int], scale: float = 1.0) -> Tensor:
    """(…, dim) -> (…, n): the sum of the first widths[i] terms, for increasing widths.

    `scale` is that of `accumulated`.
    """
    sizes, terms = sizes_of(widths), terms[..., : widths[-1]]
    if len(set(sizes)) == 1:
        sums = terms.unflatten(-1, (len(sizes), sizes[0])).sum(-1)
    else:
        sums = torch.stack([block.sum(-1) for block in terms.split(sizes, dim=-1)], dim=-1)
    return accumulated(sums, -1, scale)


def accumulated(sums: Tensor, dim: int, scale: float = 1.0) -> Tensor:
    """The running sums over `dim`; what a later one sends into an earlier term is multiplied by `scale`.

    Values do not depend on `scale`. With 1 it is a cumulative sum; with 0 every sub-model trains only the
    dimensions that it has more than the one before, and takes those as they are.
    """
    return _Accumulated.apply(sums, dim, scale)


class _Accumulated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, dim: int, scale: float) -> Tensor:
        ctx.dim, ctx.scale = dim, scale
        return _cumulated(sums, dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.scale == 0:
            return gradient, None, None
        later = _cumulated(gradient, ctx.dim, last_first=True)
        return later if ctx.scale == 1 else gradient.lerp(later, ctx.scale), None, None


def _cumulated(x: Tensor, dim: int, last_first: bool = False) -> Tensor:
    """`x.cumsum(dim)`, which is ten times slower on a CPU where a step is a whole table; or from the end on."""
    if x.device.type != "cpu" or dim != 0:
        return x.flip(dim).cumsum(dim).flip(dim) if last_first else x.cumsum(dim)
    out = x.clone()
    for before, own in itertools.pairwise(out.unbind(0)[:: -1 if last_first else 1]):
        own += before
    return out


def block_sums(terms: Terms, query: Tensor, candidates: Tensor, sizes: Sequence[int]) -> Tensor:
    """Compare queries with candidates, block of dimensions by block.

    Args:
        terms: what a dimension adds.
        query: (g, m, parts, d).
        candidates: (g, k, parts, d), those of the m queries of each group.
        sizes: of the n blocks; they add up to d.

    Returns:
        (n, g, m, k) sums, so that those of one width lie together. No more than a block of the comparisons is held at
        a time, there and back.
    """
    return _BlockSums.apply(query, candidates, terms, tuple(sizes))


class _BlockSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, candidates: Tensor, terms: Terms, sizes: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(query, candidates)
        ctx.terms, ctx.sizes = terms, sizes
        out = query.new_empty(len(sizes), *query.shape[:2], candidates.shape[1])
        for groups, some in _pieces(query, candidates):
            q, c = query[groups].unsqueeze(2), candidates[groups, some].unsqueeze(1)  # (g', m, k', parts, d) together
            values = VALUES[terms](c * q if terms == "product" else c - q)
            out[:, groups, :, some] = _summed(values, sizes)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, candidates = ctx.saved_tensors
        to_query, to_candidates = torch.zeros_like(query), torch.empty_like(candidates)
        single = query.shape[1] == 1  # candidates of one query: their gradient is written where it is to stay
        for groups, some in _pieces(query, candidates):
            q, c = query[groups].unsqueeze(2), candidates[groups, some].unsqueeze(1)
            pull = _spread(gradient[:, groups, :, some].movedim(0, -1), ctx.sizes)  # (g', m, k', d)
            place = to_candidates[groups, some].unsqueeze(1) if single else None
            if ctx.terms == "product":
                own = torch.mul(q, pull.unsqueeze(3), out=place)
                to_query[groups] += (c * pull.unsqueeze(3)).sum(2)
            else:
                own = SLOPES[ctx.terms](torch.sub(c, q, out=place), pull)
                to_query[groups] -= own.sum(2)  # what pulls the one pushes the other
            if not single:
                to_candidates[groups, some] = own.sum(1)
        return to_query, to_candidates, None, None


def _pieces(query: Tensor, candidates: Tensor) -> Iterator[tuple[slice, slice]]:
    """Pieces of the groups, or of the candidates of one, of which no more than BLOCK comparisons are held."""
    groups, m, _, d = query.shape
    k = candidates.shape[1]
    block = BLOCK if query.device.type == "cpu" else WIDE_BLOCK
    step = max(1, block // max(1, m * k * d))
    part = k if step > 1 else max(1, block // max(1, m * d))
    for start in range(0, groups, step):
        for first in range(0, k, part):
            yield slice(start, start + step), slice(first, first + part)


def _squares(x: Tensor) -> Tensor:
    """(…, parts, d) -> (…, d) the sum of squares of the parts; x is used up."""
    first, *others = x.mul_(x).unbind(-2)
    for other in others:
        first.add_(other)
    return first


def _moduli(x: Tensor) -> Tensor:
    return x.abs_().squeeze(-2) if x.shape[-2] == 1 else _squares(x).sqrt_()


def _product(x: Tensor) -> Tensor:
    first, *others = x.unbind(-2)
    for other in others:
        first.add_(other)
    return first


VALUES: dict[Terms, Callable[[Tensor], Tensor]] = {"squared": _squares, "moduli": _moduli, "product": _product}
"""What every dimension adds: differences, or products, (…, parts, d) -> (…, d)."""


def _slopes_of_squares(x: Tensor, pull: Tensor) -> Tensor:
    return x.mul_(pull.mul_(2).unsqueeze(-2))


def _slopes_of_moduli(x: Tensor, pull: Tensor) -> Tensor:
    if x.shape[-2] == 1:
        return x.sign_().mul_(pull.unsqueeze(-2))
    sizes = _squares(x.clone()).sqrt_()
    pull.div_(sizes.masked_fill_(sizes == 0, 1))  # the difference is 0 too
    return x.mul_(pull.unsqueeze(-2))


SLOPES: dict[Terms, Callable[[Tensor, Tensor], Tensor]] = {"squared": _slopes_of_squares, "moduli": _slopes_of_moduli}
"""The gradient of candidates: differences candidate − query (…, parts, d), in place, times what is passed back (…, d)."""


def _summed(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, d) -> (n, g, m, k)."""
    if len(set(sizes)) == 1:
        return values.unflatten(-1, (len(sizes), sizes[0])).sum(-1).movedim(-1, 0)
    return torch.stack([block.sum(-1) for block in values.split(sizes, dim=-1)])


def _spread(factors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, n) -> (g, m, k, d): the factor of a block for each of its dimensions, a copy."""
    if len(set(sizes)) == 1:
        return factors.unsqueeze(-1).expand(*factors.shape, sizes[0]).clone(memory_format=CONTIGUOUS).flatten(-2)
    return torch.cat([f.unsqueeze(-1).expand(*f.shape, size) for f, size in zip(factors.unbind(-1), sizes)], dim=-1)
