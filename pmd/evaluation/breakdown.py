"""The metrics of a ranking, relation by relation: where a model is right and where it is not."""

from __future__ import annotations

from dataclasses import fields

import torch

from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks


def by_relation(ranks: Ranks) -> dict[int, RankingMetrics]:
    """The metrics, of both sides and of each, of the queries with each relation, by the relation's position."""
    relations = ranks.triples[:, 1]
    return {
        relation: RankingMetrics.from_ranks(subset(ranks, relations == relation))
        for relation in torch.unique(relations).tolist()
    }


def subset(ranks: Ranks, chosen: torch.Tensor) -> Ranks:
    """The ranks of some of the triples, given as bool (n,)."""
    sides = {
        name: QueryRanks(*(getattr(side, field.name)[chosen] for field in fields(QueryRanks)))
        for name, side in ranks.sides.items()
    }
    return Ranks(ranks.triples[chosen], **sides)
