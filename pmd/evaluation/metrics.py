"""Ranks by query, and their summary: mean rank, mean reciprocal rank and Hits@k.

A scorer that gives many candidates the same score looks brilliant or hopeless depending on who wins the ties.
So a rank comes in three forms: optimistic (the true answer before all its ties), pessimistic (after them)
and realistic (the mean of both, the expected place if ties were shuffled). The realistic rank is the one
that is reported; the other two stand beside it, and a gap between them says that ties decide the result.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pmd.core.errors import PmdError


@dataclass(frozen=True, eq=False)
class QueryRanks:
    """Ranks of one group of queries, counted from 1, in the order of the queries.

    Args:
        optimistic: int64 (n,): the true answer before all that tie with it.
        pessimistic: int64 (n,): the true answer after them.
        num_candidates: int64 (n,): among how many entities each true answer was ranked, itself included.
    """

    optimistic: Tensor
    pessimistic: Tensor
    num_candidates: Tensor

    @property
    def realistic(self) -> Tensor:
        """fp64 (n,): the mean of the optimistic and the pessimistic rank."""
        return (self.optimistic + self.pessimistic).double() / 2

    def __len__(self) -> int:
        return len(self.optimistic)


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of a set of triples.

    Args:
        triples: int64 (n, 3).
        head: the ranks of h in (?, r, t), row by row those of the triples; None if they were not asked for.
        tail: the same of t in (h, r, ?).
    """

    triples: Tensor
    head: QueryRanks | None = None
    tail: QueryRanks | None = None

    @property
    def sides(self) -> dict[str, QueryRanks]:
        """The sides that were ranked, by name."""
        return {name: side for name in ("head", "tail") if (side := getattr(self, name)) is not None}

    @property
    def both(self) -> QueryRanks:
        """All queries: those for the head first, then those for the tail."""
        parts = list(self.sides.values())
        columns = (torch.cat([getattr(part, field.name) for part in parts]) for field in fields(QueryRanks))
        return QueryRanks(*columns)

    @property
    def realistic(self) -> Tensor:
        """fp64 (queries,): the realistic ranks of both sides, in the order of `both`."""
        return self.both.realistic

    @property
    def of_triples(self) -> Tensor | None:
        """fp64 (n,): the mean of the two realistic ranks of each triple; None where one side was not ranked."""
        if self.head is None or self.tail is None:
            return None
        return (self.head.realistic + self.tail.realistic) / 2

    @property
    def optimistic(self) -> Tensor:
        """int64 (queries,): the optimistic ranks of both sides, in the order of `both`."""
        return self.both.optimistic

    @property
    def pessimistic(self) -> Tensor:
        """int64 (queries,): the pessimistic ranks of both sides, in the order of `both`."""
        return self.both.pessimistic

    def mrr_standard_error(self, samples: int = 1000, seed: int = 0) -> float:
        """Bootstrap standard error of the MRR, from so many `samples` drawn by the `seed`: how far it would move with another draw of
        test triples.

        Triples are drawn, not single queries: the two queries of a triple succeed or fail together, and
        drawing them separately would make the error look smaller than it is. PmdError for fewer than 2 triples.
        """
        per_triple = torch.stack([1 / side.realistic for side in self.sides.values()]).mean(0)  # (n,)
        if len(per_triple) < 2:
            raise PmdError(f"a standard error needs at least 2 triples, there are {len(per_triple)}")
        generator = torch.Generator().manual_seed(seed)
        means = [_resampled_mean(per_triple, generator) for _ in range(samples)]
        return float(torch.stack(means).std())


def _resampled_mean(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randint(len(values), (len(values),), generator=generator)].mean()


@dataclass(frozen=True)
class RankSummary:
    """The metrics of one list of ranks.

    Args:
        mrr: mean of 1 / rank, in [0, 1].
        mr: mean rank, from 1 on.
        hits_at_1, hits_at_3, hits_at_10: share of the queries whose answer is among the first so many, in [0, 1].
        num_queries: how many ranks.
    """

    mrr: float
    mr: float
    hits_at_1: float
    hits_at_3: float
    hits_at_10: float
    num_queries: int

    @staticmethod
    def values(ranks: Tensor) -> dict[str, float | int]:
        """The fields of a summary, from ranks (n,). Hits@k counts ranks <= k. PmdError for no ranks."""
        if len(ranks) == 0:
            raise PmdError("there are no queries to take the mean over: the split is empty")
        ranks = ranks.double()
        hits = {f"hits_at_{k}": float((ranks <= k).double().mean()) for k in (1, 3, 10)}
        means = {"mrr": float((1 / ranks).mean()), "mr": float(ranks.mean())}
        return {**means, **hits, "num_queries": len(ranks)}

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, nested like the fields; those that are None are left out."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, RankSummary) else value
            for name, value in present.items()
            if value is not None
        }


@dataclass(frozen=True, repr=False)
class RankingMetrics(RankSummary):
    """The metrics of a ranking: its own fields are of the realistic ranks; `optimistic` and `pessimistic` of the others.

    `head` and `tail` are the metrics of one side, None where it was not ranked; the outer numbers are over all
    queries of both sides. `triples`, None unless both sides were ranked, is over triples, each with the mean of its two ranks, as
    DistilE and MED write: Hits@k there asks for the mean to be at most k, and `num_queries` is the number of triples.

    Args:
        mrr: mean of 1 / rank, in [0, 1].
        mr: mean rank, from 1 on.
        hits_at_1, hits_at_3, hits_at_10: share of the queries whose answer is among the first so many.
        num_queries: of both sides.
        optimistic: where candidates tie with the answer, it comes first.
        pessimistic: where candidates tie with the answer, it comes last.
        head, tail: of the queries for that side.
        triples: of the mean rank of each triple.

    Example:
        >>> model = pmd.KgeModel("rotate", graph.num_entities, graph.num_relations, dim=8)
        >>> metrics = pmd.RankingMetrics.from_ranks(pmd.ranks(model, graph, "valid", max_triples=50))
        >>> metrics.num_queries, metrics.head.num_queries
        (100, 50)
    """

    optimistic: RankSummary
    pessimistic: RankSummary
    head: RankingMetrics | None = None
    tail: RankingMetrics | None = None
    triples: RankSummary | None = None

    def __repr__(self) -> str:
        *means, _ = (field.name for field in fields(RankSummary))
        numbers = ", ".join(f"{name}={getattr(self, name):.4g}" for name in means)
        return f"{type(self).__name__}({numbers}, num_queries={self.num_queries})"

    @classmethod
    def from_ranks(cls, ranks: Ranks) -> RankingMetrics:
        """The metrics of `ranks`, as `pmd.ranks` gives them. PmdError if there are none."""
        if not ranks.sides:
            raise PmdError("there are no queries to take the mean over: neither side was ranked")
        sides = {name: cls._from_queries(side) for name, side in ranks.sides.items()}
        means = ranks.of_triples
        triples = None if means is None else RankSummary(**cls.values(means))
        return cls._from_queries(ranks.both, triples=triples, **sides)

    @classmethod
    def _from_queries(cls, queries: QueryRanks, **parts: RankSummary | None) -> RankingMetrics:
        return cls(
            **cls.values(queries.realistic),
            optimistic=RankSummary(**cls.values(queries.optimistic)),
            pessimistic=RankSummary(**cls.values(queries.pessimistic)),
            **parts,
        )
