"""Every query against every candidate, for all widths in one pass: what `pmd.rank_widths` ranks by.

A table of queries and candidates holds what the dimensions so far add up to; the next width adds its own, in place. A
step between two widths costs what its dimensions cost, so n widths cost about what the widest costs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pmd.core.types import Target
from pmd.models.interactions import Interaction
from pmd.models.kernels import SHY
from pmd.models.prefixes import Terms


class Sweep:
    """The queries (h, r, ?) or (?, r, t) of some triples, ready to meet candidates.

    Args:
        interaction: with terms that add up over dimensions.
        known, relations: (q, parts, dim) of the queries.
        target: the open place, as the interaction sees it.
        relation_ids: (q,) which queries have the same relation.
        widths: increasing.
    """

    def __init__(
        self,
        interaction: Interaction,
        known: Tensor,
        relations: Tensor,
        target: Target,
        relation_ids: Tensor,
        widths: Sequence[int],
    ):
        self.interaction, self.relations, self.target = interaction, relations, target
        self.terms = interaction.sum_of
        self.blocks = [slice(before, width) for before, width in zip((0, *widths), widths)]
        query = interaction.query(known, relations, target)
        if interaction.relation_free:
            self.rows = [torch.arange(len(query), device=query.device)]
        else:  # candidates look different in the light of each relation
            self.rows = [(relation_ids == one).nonzero().squeeze(1) for one in relation_ids.unique()]
        self.queries = [prepared(self.terms, query[rows], self.blocks, query=True) for rows in self.rows]
        # Products of matrices sum in an order that depends on their shape: in double precision, rounded before they are
        # compared, equal scores stay equal.
        self.dtype = query.dtype if self.terms == "moduli" else torch.double
        # Points that meet come out at or above the highest score there can be, and count as that.
        self.highest = 0.0 if self.terms == "squared" else None

    def totals(self, table: Tensor, candidates: Tensor) -> Iterator[Tensor]:
        """Add the dimensions of one width after the other to a table (q, c), and yield it after each.

        candidates (c, parts, dim). Higher is better, as in scores; a distance counts by the square that is its sum of
        terms. What is −∞ in the table stays so.
        """
        seen = [candidates] * len(self.rows)
        if not self.interaction.relation_free:
            seen = [self.interaction.candidate(candidates, self.relations[rows[0]], self.target) for rows in self.rows]
        columns = [prepared(self.terms, some, self.blocks, query=False) for some in seen]
        parts = [table] if len(self.rows) == 1 else [table[rows] for rows in self.rows]
        spare = torch.empty_like(table) if self.terms == "moduli" else table
        for i in range(len(self.blocks)):
            for part, query, column in zip(parts, self.queries, columns):
                if self.terms == "moduli":
                    subtract_moduli(part, query[i], column[i], spare[: len(part)])
                else:
                    part.addmm_(query[i], column[i])
            if len(parts) > 1:
                for rows, part in zip(self.rows, parts):
                    table[rows] = part
            yield table


def prepared(terms: Terms, x: Tensor, blocks: Sequence[slice], *, query: bool) -> list[Tensor]:
    """(m, parts, dim) -> what each block of dimensions needs of it.

    Products, and squares as products (−|q − c|² = 2 q·c − |q|² − |c|²), in double precision: (m, k) of queries,
    (k, m) of candidates. Moduli: (dims, parts, m).
    """
    if terms == "moduli":
        x = x.movedim(0, -1).transpose(0, 1).contiguous()
        return [x[block] for block in blocks]
    if len({block.stop - block.start for block in blocks}) == 1:  # all at once
        x = x[..., : blocks[-1].stop].unflatten(-1, (len(blocks), -1)).movedim(2, 0)
        found = _as_product(terms, x, query).unbind(0)
    else:
        found = [_as_product(terms, x[..., block], query) for block in blocks]
    return [part if query else part.t() for part in found]


def _as_product(terms: Terms, x: Tensor, query: bool) -> Tensor:
    """(…, m, parts, dims) -> (…, m, k), or (…, m, k + 2) of squares, for one product of matrices."""
    k = x.shape[-2] * x.shape[-1]
    out = x.new_empty(*x.shape[:-2], k if terms == "product" else k + 2, dtype=torch.double)
    numbers = out[..., :k]
    numbers.unflatten(-1, x.shape[-2:]).copy_(x)
    if terms == "squared":
        length, one = (k, k + 1) if query else (k + 1, k)
        # A trifle shorter, so that points that meet are not a rounding error apart (see `Sweep.highest`).
        torch.sum(numbers.square(), -1, out=out[..., length]).mul_(SHY - 1)
        out[..., one] = 1
        if query:
            numbers.mul_(2)
    return out


def subtract_moduli(table: Tensor, query: Tensor, candidates: Tensor, spare: Tensor) -> None:
    """table (q, c) −= Σ |q − c| over (dims, parts, q) and (dims, parts, c), dimension by dimension in the cache."""
    for q, c in zip(query, candidates):
        torch.sub(q[0][:, None], c[0], out=spare)
        if len(q) == 1:
            spare.abs_()
        else:
            imaginary = q[1][:, None] - c[1]
            spare.mul_(spare).addcmul_(imaginary, imaginary).sqrt_()
        table.sub_(spare)
