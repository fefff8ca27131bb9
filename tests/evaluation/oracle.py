"""The slow truth that ranking is tested against: loops over Python numbers, one candidate at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pmd.core.types import Target
from pmd.data.graphs.graph import KnowledgeGraph


@dataclass
class TableScorer:
    """Looks scores up by query in a table (entities, relations, entities) a target; notes its batch sizes."""

    tables: dict[str, Tensor]
    batches: list[int] = field(default_factory=list)

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        self.batches.append(len(triples))
        known = triples[:, 2 if target == "head" else 0]
        return self.tables[target][known, triples[:, 1]]


def tied_scorer(graph: KnowledgeGraph, seed: int = 0, values: int = 4) -> TableScorer:
    """Scores drawn from a few integers, so that most candidates are tied."""
    generator = torch.Generator().manual_seed(seed)
    shape = (graph.num_entities, graph.num_relations, graph.num_entities)
    return TableScorer({t: torch.randint(values, shape, generator=generator).float() for t in ("head", "tail")})


def slow_ranks(
    score: Callable[[int, int, int], float],
    graph: KnowledgeGraph,
    split: str,
    target: Target,
    filtered: bool,
    candidates: list[int],
) -> list[tuple[int, int, int]]:
    """(optimistic rank, pessimistic rank, number of candidates) of each triple of the split.

    `score(known entity, relation, candidate)` is asked for one number at a time.
    """
    facts = {tuple(triple) for name in graph.context_of(split) for triple in graph.split(name).tolist()}
    results = []
    for head, relation, tail in graph.split(split).tolist():
        known, answer = (tail, head) if target == "head" else (head, tail)
        above = tied = competitors = 0
        for candidate in candidates:
            fact = (candidate, relation, tail) if target == "head" else (head, relation, candidate)
            if candidate == answer or (filtered and fact in facts):
                continue
            competitors += 1
            above += score(known, relation, candidate) > score(known, relation, answer)
            tied += score(known, relation, candidate) == score(known, relation, answer)
        results.append((1 + above, 1 + above + tied, competitors + 1))
    return results
