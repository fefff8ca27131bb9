"""Every query against every candidate, for all widths in one pass: what `pmd.rank_widths` ranks by.

A table of totals (queries, candidates) holds the sum of the terms of all dimensions so far; going on to the next width adds
its dimensions in place. So n widths cost about what the widest costs alone.

A score is by definition one number in single precision. Sums of moduli are computed in that precision, one dimension after
the other (`ModuliMargins`). Sums of products and of squares are computed in double precision, one dimension after the
other, and rounded once (`WidthScores.exact_scores`, `WidthScores.exact_sums_of_pairs`). That is slow, and nearly always
unnecessary: `ProductMargins` compares candidates with the true answer by matrix products in single precision, whose error
has a known bound (`ProductMargins._slacks`). Only what is closer to the true answer than this bound is computed again by
the definition.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pmd.core.types import Target
from pmd.models.kge.interactions import Interaction
from pmd.models.kge.kernels import single_roots
from pmd.models.kge.prefixes import TERMS, block_sizes, running_sums

COPIED = 64
"""Candidates that are copied into matrices at a time: few enough for the cache."""

PAIRS = 256
"""Pairs of a query and a candidate that are scored at a time."""

ROUNDING = torch.finfo(torch.float).eps
"""Two numbers that single precision rounds to the same one differ by no more than this, relative to their size. With roots
and squares, which PyTorch does not always round to the nearest, by no more than five times this."""


class WidthScores:
    """The queries (h, r, ?) or (?, r, t) of q triples, ready to be compared with candidates at all widths.

    Args:
        interaction: whose terms add up over dimensions (`has_running_sums`).
        known, relations: (q, parts, dim) of the queries.
        target: the open place, as the interaction is asked for it.
        relation_ids: (q,) of the queries; fastest where equal ones are consecutive.
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
        self.kind, self.sizes = interaction.term_kind, block_sizes(widths)
        self.query = interaction.query(known, relations, target)[..., : widths[-1]]  # (q, parts, dim)
        self.sign = 1 if self.kind == "product" else -1  # a distance scores the less the larger its sum
        counts = [len(known)]
        if not interaction.relation_free:  # queries of one relation are compared with the same candidates
            counts = relation_ids.unique_consecutive(return_counts=True)[1].tolist()
        ends = torch.tensor(counts).cumsum(0).tolist()
        # Runs of queries of one relation: ids (4, 4, 7) give the slices 0:2 and 2:3.
        self.groups = [slice(end - count, end) for end, count in zip(ends, counts)]

    def margins_over(self, answers: Tensor, rows: Tensor) -> Margins:
        """Ready to tell by how much candidates are ahead of true answers.

        Args:
            answers: (b, parts, dim) embeddings of the true answers.
            rows: (b,) the query of each; for products and squares b = q, and query i has answer i.
        """
        return ModuliMargins(self, answers, rows) if self.kind == "moduli" else ProductMargins(self, answers)

    def candidates_by_group(self, candidates: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Slices of queries, and the candidates (c, parts, dim) as these are compared with them."""
        for rows in self.groups:
            if self.interaction.relation_free:
                yield rows, candidates
            else:
                yield rows, self.interaction.candidate(candidates, self.relations[rows.start], self.target)

    def exact_scores(self, totals: Tensor, candidates: Tensor) -> Iterator[Tensor]:
        """Scores (q, c) by products or squares, width by width, equal to those of pairs.

        totals (q, c) starts with zeros, or −∞ for a candidate that is to stay there.
        """
        totals, query = totals.double(), self.query.double().permute(2, 0, 1).contiguous()
        groups = [(rows, _by_dimension(part.double())) for rows, part in self.candidates_by_group(candidates)]
        for start, end in itertools.pairwise((0, *self.widths)):
            for rows, part in groups:
                for q, c in zip(query[start:end, rows, :, None], part[start:end]):  # (q, parts, 1), (parts, c)
                    totals[rows].add_(self._terms(q, c), alpha=self.sign)
            yield self.rounded(totals)

    def exact_sums_of_pairs(self, rows: Tensor, candidates: Tensor, width: int) -> Tensor:
        """Sums (m, width) of the first one, two, … terms of queries `rows` (m,) with a candidate (m, parts, width) each, in
        double precision, one dimension after the other (which `sum` does not promise)."""
        if not self.interaction.relation_free:
            candidates = self.interaction.candidate(candidates, self.relations[..., :width][rows], self.target)
        return self._terms(self.query[..., :width][rows].double(), candidates).cumsum(-1)

    def rounded(self, sums: Tensor) -> Tensor:
        """Scores in single precision from signed sums in double precision, by the same steps as `pairwise` of a distance."""
        if self.kind == "product":
            return sums.float()
        distance = single_roots(-sums)
        return -(distance.square() if self.interaction.norm == "squared" else distance)

    def _terms(self, query: Tensor, candidates: Tensor) -> Tensor:
        """The terms (…, k) of (…, parts, k) twice, which may broadcast."""
        return TERMS[self.kind](query * candidates if self.kind == "product" else query - candidates)


class Margins(ABC):
    """By how much candidates are ahead of true answers, width by width.

    A margin is a difference of scores, or of something that orders candidates as scores do. It comes with a *slack*: where
    its absolute value exceeds the slack, its sign is that of the difference of scores; otherwise `exact_margins` and
    `exact_pair_margins` tell.

    Attributes:
        true_scores: (n, b) scores of the true answers at each width.
        dtype: of the totals that `by_width` takes.
        exact: whether all slacks are 0, and nothing is left for the exact margins.
    """

    true_scores: Tensor
    dtype: torch.dtype
    exact: bool

    @abstractmethod
    def by_width(self, totals: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        """Margins (b, c) and their slack, width by width.

        Args:
            totals: (q, c) zeros, or −∞ for a candidate that does not compete with a query; overwritten.
            candidates: (c, parts, dim).
        """

    def exact_margins(self, totals: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        """Differences (b, c) of scores, width by width, with a slack of 0; slower. Arguments as for `by_width`."""
        raise NotImplementedError  # where margins are exact

    def exact_pair_margins(self, positions: Tensor, rows: Tensor, candidates: Tensor, columns: Tensor) -> Tensor:
        """Differences of scores (m,) of single pairs, each at one width.

        Args:
            positions: (m,) of the widths, fastest if increasing.
            rows, columns: (m,) query and candidate of each pair.
            candidates: (c, parts, dim).
        """
        raise NotImplementedError


class ModuliMargins(Margins):
    """Margins of sums of moduli, which are the differences of the scores themselves."""

    exact = True

    def __init__(self, scores: WidthScores, answers: Tensor, rows: Tensor):
        self.scores, self.rows, self.dtype = scores, rows, scores.query.dtype
        self.query_blocks = self._blocks(scores.query)
        totals = scores.query.new_zeros(len(scores.query), len(answers))
        columns = torch.arange(len(answers), device=rows.device)
        self.true_scores = torch.stack([table[rows, columns] for table in self._totals(totals, answers)])

    def by_width(self, totals: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        out = totals.new_empty(len(self.rows), totals.shape[1])
        for table, true in zip(self._totals(totals, candidates), self.true_scores):
            if len(out) > len(table):  # several true answers share a query
                torch.index_select(table, 0, self.rows, out=out)  # six times faster than table[rows]
                table = out
            yield torch.sub(table, true[:, None], out=out), 0.0

    def _totals(self, totals: Tensor, candidates: Tensor) -> Iterator[Tensor]:
        """Scores (q, c), width by width, in the same memory."""
        # Laid out by dimension before a relation changes them, for that keeps the layout.
        candidates = candidates.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        groups = [(rows, self._blocks(part)) for rows, part in self.scores.candidates_by_group(candidates)]
        spare = torch.empty_like(totals)
        for i, query in enumerate(self.query_blocks):
            for rows, blocks in groups:
                subtract_moduli(totals[rows], query[..., rows], blocks[i], spare[rows])
            yield totals

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """(m, parts, dim) -> (dims, parts, m) for the dimensions of each block between two widths."""
        return [*_by_dimension(x[..., : self.scores.widths[-1]]).split(self.scores.sizes)]


class ProductMargins(Margins):
    """Margins of products or squares, from one matrix product for each block of dimensions.

    The block of a query is a row of a matrix, that of a candidate a column; one more entry takes away by how much the true
    answer's sum rises in the block, so that the running sum of the products is the margin.

    Example, products, widths (1, 2), query q = (2, 3), true answer t = (1, 1) with the sums 2 and 5, candidate c = (0, 2)
    with the sums 0 and 6:

        block 1: (2, −2) · (0, 1) = −2         width 1: margin −2 = 0 − 2
        block 2: (3, −3) · (2, 1) =  3         width 2: margin −2 + 3 = 1 = 6 − 5

    Of squares, −|q − c|² + |q|² = 2 q·c − |c|² is summed: the row is (2q, 1, −rise), the column (c, −|c|², 1), and the true
    answer's sum is −|q − t|² + |q|². In the example the true sums are 3 and 2·3 − 1 + 3 = 8, and

        block 1: (4, 1, −3) · (0, 0, 1) = −3   width 1: −3 = −|2 − 0|² + |2 − 1|²
        block 2: (6, 1, −5) · (2, −4, 1) = 3   width 2: 0  = −(4 + 1) + (1 + 4)

    Each row is multiplied by a power of two, which rounds nothing, such that |q| lies between ½ and 1: then all rows have
    about the same slack, and one number serves for a whole table. `scale` holds these powers: of q above, |q| = 3.6, ¼."""

    exact = False

    def __init__(self, scores: WidthScores, answers: Tensor):
        self.scores, self.squared = scores, scores.kind == "squared"
        self.dtype = torch.double if products_are_coarse() else scores.query.dtype
        rows, width = torch.arange(len(scores.query), device=answers.device), scores.widths[-1]
        pairs = zip(rows.split(PAIRS), answers[..., :width].split(PAIRS))
        last = torch.tensor(scores.widths, device=rows.device) - 1
        sums = torch.cat([scores.exact_sums_of_pairs(*part, width)[:, last] for part in pairs])  # (q, n)
        self.true_sums = sums.t() * scores.sign  # (n, q)
        self.true_scores = scores.rounded(self.true_sums)
        self.query_squared = running_sums(scores.query.double().square().sum(1), scores.widths).t()  # (n, q) |q|²
        exponents = torch.frexp(self.query_squared[-1].sqrt())[1]  # e, where |q| = m · 2^e with ½ ≤ m < 1
        self.scale = torch.ldexp(torch.ones_like(self.true_sums[0]), -exponents)  # (q,)
        self.query_blocks = self._query_blocks()

    def by_width(self, totals: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        groups = [(rows, *self._candidate_blocks(part)) for rows, part in self.scores.candidates_by_group(candidates)]
        longest = torch.cat([squared.expand(-1, rows.stop - rows.start) for rows, _, squared in groups], 1)  # (n, q)
        slacks = self._slacks(longest)
        spare = torch.empty_like(totals)
        for i, query in enumerate(self.query_blocks):
            # Not added to `totals` by the product itself: that might round at every step.
            for rows, blocks, _ in groups:
                torch.mm(query[rows], blocks[i], out=spare[rows])
            yield totals.add_(spare), slacks[i]

    def exact_margins(self, totals: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, float]]:
        for scores, true in zip(self.scores.exact_scores(totals, candidates), self.true_scores):
            yield scores.sub_(true[:, None]), 0.0

    def exact_pair_margins(self, positions: Tensor, rows: Tensor, candidates: Tensor, columns: Tensor) -> Tensor:
        widths = torch.tensor(self.scores.widths, device=rows.device)[positions]
        sums = [torch.empty(0, dtype=torch.double, device=rows.device)]
        for width, row, column in zip(*(part.split(PAIRS) for part in (widths, rows, columns))):
            if len(width):
                widest = int(width.max())
                each = self.scores.exact_sums_of_pairs(row, candidates[..., :widest][column], widest)
                sums.append(each.gather(1, width[:, None] - 1).squeeze(1))
        return self.scores.rounded(self.scores.sign * torch.cat(sums)) - self.true_scores[positions, rows]

    def _slacks(self, longest: Tensor) -> list[float]:
        """For each width, how far a margin of any row may be from the difference of the exact sums, plus how far these may
        be apart and still round to the same score.

        With u = eps / 2, the error of one rounding: a product of k pairs of numbers, summed in any order, is off by at
        most k·u·Σ|q c| ≤ k·u·|q| |c|; a squared length by k·u of itself; and every running sum by u of itself more (Higham,
        Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). Three roundings more, k + 3, are those of the
        last entry and of adding its product.
        In the example of this class the slack of width 2 is 1.1e-6, and the margin of the scaled row 1 · ¼.

        Args:
            longest: (n, q) squared length, at each width, of the longest candidate that a query is compared with.
        """
        k, roundoff = max(self.scores.sizes) * self.scores.query.shape[1], torch.finfo(self.dtype).eps / 2
        rises = self._rises().abs().cumsum(0)  # more than all last entries so far
        product = (self.query_squared * longest).sqrt()  # |q| |c|
        products, totals = (k + 3) * (product + rises), product + self.true_sums.abs()
        if self.squared:  # a margin is |q − t|² − |q − c|², so no larger than the larger of these two
            products = (k + 3) * (2 * product + rises) + (2 * k + 6) * longest
            totals = torch.maximum(-self.true_sums, self.query_squared + longest + 2 * product + self.true_sums)
        same_score = (5 if self.squared else 1) * ROUNDING * self.true_sums.abs()
        slack = roundoff * (products + totals.cumsum(0)) + same_score
        underflow = (
            torch.finfo(torch.float).tiny * self.scores.query[0].numel()
        )  # of numbers too small to round like this
        # 1 % more for products of roundings, left out above. Errors are scaled like their rows; the largest serves for all.
        return ((1.01 * slack + underflow).mul_(self.scale).amax(1) + underflow).tolist()

    def _rises(self) -> Tensor:
        """(n, q) by how much the true answer's sum rises in each block; of squares, that sum and |q|²."""
        sums = self.true_sums + self.query_squared if self.squared else self.true_sums
        return sums.diff(dim=0, prepend=torch.zeros_like(sums[:1]))

    def _query_blocks(self) -> list[Tensor]:
        """Rows (q, k + 1) of each block, (q, k + 2) of squares."""
        scale, blocks = self.scale[:, None], []
        for block, rise in zip(self.scores.query.split(self.scores.sizes, -1), self._rises()):
            block = block.flatten(1).double()
            parts = [2 * block, torch.ones_like(scale)] if self.squared else [block]
            blocks.append((torch.cat([*parts, -rise[:, None]], 1) * scale).to(self.dtype))
        return blocks

    def _candidate_blocks(self, candidates: Tensor) -> tuple[list[Tensor], Tensor]:
        """Columns (k + 1, c) of each block, (k + 2, c) of squares, and (n, 1) the largest squared length at each width.

        candidates (c, parts, dim). Blocks of one size are copied all at once.
        """
        sizes, (c, parts, _) = self.scores.sizes, candidates.shape
        runs = [(len(sizes), sizes[0])] if len(set(sizes)) == 1 else [(1, size) for size in sizes]
        columns, squared, start = [], [], 0
        for count, size in runs:
            k = parts * size
            out = candidates.new_empty(count, c, k + 1 + self.squared, dtype=self.dtype)
            numbers = out[..., :k]
            block = candidates[..., start : start + count * size].unflatten(-1, (count, size))
            for to, some in zip(numbers.split(COPIED, 1), block.split(COPIED)):
                to.unflatten(-1, (parts, size)).copy_(some.movedim(2, 0))
            squared.append(torch.linalg.vector_norm(numbers, dim=-1).square_())
            if self.squared:
                torch.neg(squared[-1], out=out[..., k])
            out[..., -1] = 1
            columns += [block.t() for block in out]
            start += count * size
        underflow = torch.finfo(self.dtype).tiny * parts * max(sizes)  # squares that were too small to be counted
        return columns, torch.cat(squared).double().add_(underflow).cumsum(0).amax(1, keepdim=True)


def products_are_coarse() -> bool:
    """Whether matrix products of numbers in single precision may be computed in less."""
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set for one backend alone: PyTorch then has no answer for all
        return True


def subtract_moduli(totals: Tensor, query: Tensor, candidates: Tensor, spare: Tensor) -> None:
    """totals (q, c) −= Σ |q − c| over (dims, parts, q) and (dims, parts, c), one dimension at a time, in the cache.

    spare (q, c) is overwritten.
    """
    for q, c in zip(query, candidates):
        torch.sub(q[0][:, None], c[0], out=spare)
        if len(q) == 1:
            spare.abs_()
        else:
            imaginary = q[1][:, None] - c[1]
            spare.mul_(spare).addcmul_(imaginary, imaginary).sqrt_()
        totals.sub_(spare)


def _by_dimension(x: Tensor) -> Tensor:
    """(m, parts, dim) -> (dim, parts, m)"""
    return x.permute(2, 1, 0).contiguous()
