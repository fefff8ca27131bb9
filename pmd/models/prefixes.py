"""Scores of all prefixes of an embedding for about the price of one.

What a dimension adds to a comparison does not depend on the width. So the terms of the widest model are computed once,
summed between one width and the next, and the few sums accumulated: n scores from one pass (MED, Zhu et al., ACL 2025,
trains and ranks n sub-models that way).
"""

from __future__ import annotations

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
        return sums.cumsum(dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.scale == 0:
            return gradient, None, None
        later = gradient.flip(ctx.dim).cumsum(ctx.dim).flip(ctx.dim)
        return later if ctx.scale == 1 else gradient.lerp(later, ctx.scale), None, None


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
            q, c = _pair(query[groups], candidates[groups, some])
            out[:, groups, :, some] = _summed(VALUES[terms](q, c), sizes)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, candidates = ctx.saved_tensors
        to_query, to_candidates = torch.zeros_like(query), torch.empty_like(candidates)
        for groups, some in _pieces(query, candidates):
            q, c = _pair(query[groups], candidates[groups, some])
            pull = gradient[:, groups, :, some].movedim(0, -1)  # (g', m, k', n)
            if ctx.terms == "product":
                pull = pull.repeat_interleave(torch.tensor(ctx.sizes, device=pull.device), dim=-1)
                for part in range(len(q)):
                    to_query[groups, :, part] += (c[part] * pull).sum(2)
                    to_candidates[groups, some, part] = (q[part] * pull).sum(1)
                continue
            # Of a distance, what pulls the one pushes the other.
            for part, own in enumerate(SLOPES[ctx.terms](q, c)):
                own = _times_blocks(own, pull, ctx.sizes)
                to_query[groups, :, part] += own.sum(2)
                to_candidates[groups, some, part] = -(own.squeeze(1) if own.shape[1] == 1 else own.sum(1))
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


Parts = Sequence[Tensor]


def _pair(query: Tensor, candidates: Tensor) -> tuple[Parts, Parts]:
    """(g, m, parts, d), (g, k, parts, d) -> (g, m, 1, d) and (g, 1, k, d) for each part."""
    return query.unsqueeze(2).unbind(3), candidates.unsqueeze(1).unbind(3)


def _differences(q: Parts, c: Parts) -> list[Tensor]:
    return [one - other for one, other in zip(q, c)]


def _squared(q: Parts, c: Parts) -> Tensor:
    first, *others = _differences(q, c)
    first.mul_(first)
    for other in others:
        first.addcmul_(other, other)
    return first


def _moduli(q: Parts, c: Parts) -> Tensor:
    return (q[0] - c[0]).abs_() if len(q) == 1 else _squared(q, c).sqrt_()


def _product(q: Parts, c: Parts) -> Tensor:
    total = q[0] * c[0]
    for one, other in zip(q[1:], c[1:]):
        total.addcmul_(one, other)
    return total


VALUES: dict[Terms, Callable[[Parts, Parts], Tensor]] = {"squared": _squared, "moduli": _moduli, "product": _product}
"""What every dimension adds, (g, m, k, d)."""


def _slopes_of_squares(q: Parts, c: Parts) -> list[Tensor]:
    return [difference.mul_(2) for difference in _differences(q, c)]


def _slopes_of_moduli(q: Parts, c: Parts) -> list[Tensor]:
    differences = _differences(q, c)
    if len(differences) == 1:
        return [differences[0].sign_()]
    sizes = sum(difference.square() for difference in differences).sqrt_()
    sizes.masked_fill_(sizes == 0, 1)  # the difference is 0 too
    return [difference.div_(sizes) for difference in differences]


SLOPES: dict[Terms, Callable[[Parts, Parts], list[Tensor]]] = {
    "squared": _slopes_of_squares,
    "moduli": _slopes_of_moduli,
}
"""The derivatives of a distance's terms by the parts of the query, (g, m, k, d) each."""


def _summed(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, d) -> (n, g, m, k)."""
    if len(set(sizes)) == 1:
        return values.unflatten(-1, (len(sizes), sizes[0])).sum(-1).movedim(-1, 0)
    return torch.stack([block.sum(-1) for block in values.split(sizes, dim=-1)])


def _times_blocks(values: Tensor, factors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(g, m, k, d) times (g, m, k, n), each factor for its block; in place."""
    if len(set(sizes)) == 1:
        values.unflatten(-1, (len(sizes), sizes[0])).mul_(factors.unsqueeze(-1))
        return values
    for block, factor in zip(values.split(sizes, dim=-1), factors.unbind(-1)):
        block.mul_(factor.unsqueeze(-1))
    return values
