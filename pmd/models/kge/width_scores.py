"""Every query against every candidate, for all widths in one pass: what `pmd.rank_widths` ranks by.

A table of queries and candidates holds what the dimensions so far add up to; the next width adds its own, in place. A
step between two widths costs what its dimensions cost, so n widths cost about what the widest costs alone.

What a candidate scores is one number in single precision, whatever else is compared. Moduli are summed in that precision,
one dimension after the other. Products and squares are so in double precision, and rounded once (`Sweep.scores`,
`Sweep.sums_of_pairs`). Nearly all comparisons of these can do with sums in single precision, in any order, since it is
known how far such a sum can be from the true one (`Products._slack`): only what is too near to the true answer to tell is
summed again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pmd.core.types import Target
from pmd.models.kge.interactions import Interaction
from pmd.models.kge.kernels import rooted
from pmd.models.kge.prefixes import VALUES, running_sums, sizes_of

CACHED = 64
"""Candidates whose dimensions are put in their places at a time: few enough for the cache."""

PAIRS = 256
"""Queries and candidates that are compared by themselves at a time."""

ALIKE = torch.finfo(torch.float).eps
"""Numbers that single precision rounds to one differ by no more of their size. Five times that where it also takes roots and
squares of them, which PyTorch does not always round to the nearest."""


class Sweep:
    """The queries (h, r, ?) or (?, r, t) of some triples, ready to meet candidates.

    Args:
        interaction: with terms that add up over dimensions.
        known, relations: (q, parts, dim) of the queries.
        target: the open place, as the interaction sees it.
        relation_ids: (q,) of the queries; fastest where those of one relation lie together.
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
        self.interaction, self.relations, self.target, self.widths = interaction, relations, target, widths
        self.terms, self.sizes = interaction.sum_of, sizes_of(widths)
        self.query = interaction.query(known, relations, target)[..., : widths[-1]]  # (q, parts, dim)
        sizes = [len(known)]
        if not interaction.relation_free:  # candidates look different in the light of each relation
            sizes = relation_ids.unique_consecutive(return_counts=True)[1].tolist()
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.groups = [slice(end - size, end) for end, size in zip(ends, sizes)]

    def against(self, answers: Tensor, rows: Tensor) -> Moduli | Products:
        """With the true answers (b, parts, dim) of queries `rows` (b,); of products every query has one."""
        return Moduli(self, answers, rows) if self.terms == "moduli" else Products(self, answers)

    def seen(self, candidates: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Queries, and the candidates (c, parts, dim) as these see them."""
        for rows in self.groups:
            if self.interaction.relation_free:
                yield rows, candidates
            else:
                yield rows, self.interaction.candidate(candidates, self.relations[rows.start], self.target)

    def scores(self, table: Tensor, candidates: Tensor) -> Iterator[Tensor]:
        """Scores (q, c) by products or squares, width by width, the same as those of pairs.

        table (q, c) holds zeros, or −∞ for what is to stay so.
        """
        total, query = table.double(), self.query.double().permute(2, 0, 1).contiguous()
        seen = [(rows, _by_dimension(some.double())) for rows, some in self.seen(candidates)]
        for start, end in itertools.pairwise((0, *self.widths)):
            for rows, some in seen:
                for q, c in zip(query[start:end, rows, :, None], some[start:end]):  # (q, parts, 1), (parts, c)
                    total[rows].add_(self._terms(q, c), alpha=self.sign)
            yield self.scored(total)

    def sums_of_pairs(self, rows: Tensor, candidates: Tensor, width: int) -> Tensor:
        """Sums (m, width) of the terms of the first one, two ... dimensions, of queries `rows` and candidates (m, parts,
        width) in pairs: in double precision, one dimension after the other, unlike `sum`."""
        if not self.interaction.relation_free:
            candidates = self.interaction.candidate(candidates, self.relations[..., :width][rows], self.target)
        return self._terms(self.query[..., :width][rows].double(), candidates).cumsum(-1)

    def scored(self, sums: Tensor) -> Tensor:
        """What sums in double precision score, in single precision: by steps that `pairwise` of a distance takes too."""
        if self.terms == "product":
            return sums.float()
        distance = rooted(-sums)
        return -(distance.square() if self.interaction.norm == "squared" else distance)

    @property
    def sign(self) -> int:
        return 1 if self.terms == "product" else -1

    def _terms(self, query: Tensor, candidates: Tensor) -> Tensor:
        """What is added: (…, parts, k) twice, which may broadcast -> (…, k)."""
        return VALUES[self.terms](query * candidates if self.terms == "product" else query - candidates)


class Moduli:
    """Sums of moduli, one dimension after the other, so that those of equal candidates are equal.

    Attributes:
        true: (n, b) scores of the true answers, by the same sums.
        dtype: of the table.
        certain: whether no comparison is too near to tell.
    """

    certain = True

    def __init__(self, sweep: Sweep, answers: Tensor, rows: Tensor):
        self.sweep, self.rows, self.dtype = sweep, rows, sweep.query.dtype
        self.queries = self._steps(sweep.query)
        table = sweep.query.new_zeros(len(sweep.query), len(answers))
        columns = torch.arange(len(answers), device=rows.device)
        self.true = torch.stack([total[rows, columns] for total in self._totals(table, answers)])

    def ahead(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        """By how much (b, c) the candidates (c, parts, dim) score above the true answers, and by how much that may be
        wrong, width by width. table (q, c) holds zeros, or −∞ for what is to stay so, and is used up."""
        own = table.new_empty(len(self.rows), table.shape[1])
        for total, true in zip(self._totals(table, candidates), self.true):
            if len(own) > len(table):
                torch.index_select(total, 0, self.rows, out=own)  # six times faster than total[rows]
                total = own
            yield torch.sub(total, true[:, None], out=own), 0.0

    def _totals(self, table: Tensor, candidates: Tensor) -> Iterator[Tensor]:
        # What a relation does to candidates keeps how they lie: dimension by dimension, as they are to be read.
        candidates = candidates.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        seen = [(rows, self._steps(some)) for rows, some in self.sweep.seen(candidates)]
        spare = torch.empty_like(table)
        for i, query in enumerate(self.queries):
            for rows, steps in seen:
                subtract_moduli(table[rows], query[..., rows], steps[i], spare[rows])
            yield table

    def _steps(self, x: Tensor) -> list[Tensor]:
        """(m, parts, dim) -> (dims, parts, m) of each step between two widths."""
        return [*_by_dimension(x[..., : self.sweep.widths[-1]]).split(self.sweep.sizes)]


class Products:
    """Sums of products of matrices, the last column of which takes the true sum away. Attributes as of `Moduli`.

    −|q − c|² + |q|² is 2 q·c − |c|². Every row is multiplied by a power of two, so that all have about one slack.
    """

    certain = False

    def __init__(self, sweep: Sweep, answers: Tensor):
        self.sweep, self.squared = sweep, sweep.terms == "squared"
        self.dtype = torch.double if coarse_products() else sweep.query.dtype
        rows, width = torch.arange(len(sweep.query), device=answers.device), sweep.widths[-1]
        parts = zip(rows.split(PAIRS), answers[..., :width].split(PAIRS))
        last = torch.tensor(sweep.widths, device=rows.device) - 1
        self.sums = torch.cat([sweep.sums_of_pairs(*part, width)[:, last] for part in parts]).t() * sweep.sign  # (n, q)
        self.true = sweep.scored(self.sums)
        self.lengths = running_sums(sweep.query.double().square().sum(1), sweep.widths).t()  # (n, q), squared
        self.scale = torch.ldexp(torch.ones_like(self.sums[0]), -torch.frexp(self.lengths[-1].sqrt())[1])  # (q,)
        self.queries = self._of_queries()

    def ahead(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        """As `Moduli.ahead`, of the sums: what is farther ahead or behind has another score."""
        seen = [(rows, *self._of_candidates(some)) for rows, some in self.sweep.seen(candidates)]
        longest = torch.cat([longest.expand(-1, rows.stop - rows.start) for rows, _, longest in seen], 1)  # (n, q)
        slack = self._slack(longest)
        spare = torch.empty_like(table)
        for i, query in enumerate(self.queries):
            for rows, steps, _ in seen:  # not added to by the product itself, which may round at each of its steps
                torch.mm(query[rows], steps[i], out=spare[rows])
            yield table.add_(spare), slack[i]

    def settled(self, table: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        """The same of the scores, which are not wrong: slower."""
        for scores, true in zip(self.sweep.scores(table, candidates), self.true):
            yield scores.sub_(true[:, None]), 0.0

    def settled_pairs(self, places: Tensor, rows: Tensor, candidates: Tensor, columns: Tensor) -> Tensor:
        """The same (m,) of queries `rows` and candidates `columns` in pairs, each at a width of its own.

        Args:
            places: of the widths, (m,), best in increasing order.
            candidates: (c, parts, dim).
        """
        widths = torch.tensor(self.sweep.widths, device=rows.device)[places]
        found = [torch.empty(0, dtype=torch.double, device=rows.device)]
        for width, row, column in zip(*(part.split(PAIRS) for part in (widths, rows, columns))):
            if len(width):
                widest = int(width.max())
                sums = self.sweep.sums_of_pairs(row, candidates[..., :widest][column], widest)
                found.append(sums.gather(1, width[:, None] - 1).squeeze(1))
        return self.sweep.scored(self.sweep.sign * torch.cat(found)) - self.true[places, rows]

    def _slack(self, longest: Tensor) -> list[float]:
        """How far the differences of each width may be from the true ones, in any row.

        A product of k numbers is off by at most k roundings of Σ|q c| ≤ |q| |c|, whatever the order, a squared length by
        as many of itself, and every running sum by one rounding more (Higham, Accuracy and Stability of Numerical
        Algorithms, 2002, section 3.1). longest (n, q): of the candidates, squared.
        """
        info, k = torch.finfo(self.dtype), max(self.sweep.sizes) * self.sweep.query.shape[1]
        steps = self._steps().abs().cumsum(0)
        size = (self.lengths * longest).sqrt()  # of q·c
        rounded, sums = (k + 3) * (size + steps), size + self.sums.abs()
        if self.squared:  # |q − t|² − |q − c|², neither of which is negative
            rounded = (k + 3) * (2 * size + steps) + (2 * k + 6) * longest
            sums = torch.maximum(-self.sums, self.lengths + longest + 2 * size + self.sums)
        slack = info.eps / 2 * (rounded + sums.cumsum(0)) + (5 if self.squared else 1) * ALIKE * self.sums.abs()
        tiny = torch.finfo(torch.float).tiny * self.sweep.query[0].numel()  # of numbers too small to be rounded so
        return ((1.01 * slack + tiny).mul_(self.scale).amax(1) + tiny).tolist()

    def _steps(self) -> Tensor:
        """(n, q) by how much the true sum, or that and |q|², rises between two widths."""
        level = self.sums + self.lengths if self.squared else self.sums
        return level.diff(dim=0, prepend=torch.zeros_like(level[:1]))

    def _of_queries(self) -> list[Tensor]:
        """(q, k + 1) of each step, (q, k + 2) of squares."""
        scale, columns = self.scale[:, None], []
        for block, step in zip(self.sweep.query.split(self.sweep.sizes, -1), self._steps()):
            block = block.flatten(1).double()
            parts = [2 * block, torch.ones_like(scale)] if self.squared else [block]
            columns.append((torch.cat([*parts, -step[:, None]], 1) * scale).to(self.dtype))
        return columns

    def _of_candidates(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """(c, parts, dim) -> (k + 1, c) or (k + 2, c) of each step; (n, 1) squared lengths of the longest prefixes."""
        sizes, (c, parts, _) = self.sweep.sizes, x.shape
        alike = len(set(sizes)) == 1
        found, lengths, start, tiny = [], [], 0, torch.finfo(self.dtype).tiny  # of numbers whose squares are lost
        for count, size in (
            [(len(sizes), sizes[0])] if alike else [(1, size) for size in sizes]
        ):  # all at once, if alike
            k = parts * size
            out = x.new_empty(count, c, k + 1 + self.squared, dtype=self.dtype)
            numbers = out[..., :k]
            some = x[..., start : start + count * size].unflatten(-1, (count, size))
            for to, them in zip(numbers.split(CACHED, 1), some.split(CACHED)):
                to.unflatten(-1, (parts, size)).copy_(them.movedim(2, 0))
            lengths.append(torch.linalg.vector_norm(numbers, dim=-1).square_())
            if self.squared:
                torch.neg(lengths[-1], out=out[..., k])
            out[..., -1] = 1
            found += [block.t() for block in out]
            start += count * size
        return found, torch.cat(lengths).double().add_(tiny * parts * max(sizes)).cumsum(0).amax(1, keepdim=True)


def coarse_products() -> bool:
    """Whether products of matrices in single precision may be in less."""
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set for one backend by itself: PyTorch has no answer for all
        return True


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


def _by_dimension(x: Tensor) -> Tensor:
    """(m, parts, dim) -> (dim, parts, m)"""
    return x.permute(2, 1, 0).contiguous()
