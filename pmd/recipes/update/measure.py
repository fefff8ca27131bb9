"""How a model ranks facts that its graph has gained: facts that no training has seen, so that one sees when to train again.

A new training fact is ranked by texts that do not know it, as if it were not in the graph yet, for else the name of its answer
would stand in the text of the query. New facts of other splits are ranked as the updated model ranks. Known answers of the
newer graph do not compete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import RankSummary
from pmd.evaluation.ranking import ranks, subsample

KNOWN, NEW, PLACED = "known entities", "a new entity", "a new entity, placed by them"
READ = ("train", "inductive_train")
"""The splits whose facts a model may read."""
ScorerOf = Callable[[KnowledgeGraph], TripleScorer]


@dataclass(frozen=True)
class NewFacts:
    """The facts (n, 3) by split that a graph has gained, and which of its entities (num_entities,) are new; `placed` says that
    their rows were made from the new training facts."""

    graph: KnowledgeGraph
    facts: Mapping[str, np.ndarray]
    is_new: np.ndarray
    placed: bool = False

    def measured(self, scorer_of: ScorerOf, at_most: int, batch_size: int) -> dict[str, dict[str, dict[str, Any]]]:
        """The metrics by split, apart for facts of known entities and those with a new one; of more than `at_most` facts of a
        split, a sample is ranked. `scorer_of` makes the scorer of a graph, whose training facts it may read."""
        measured = {}
        for read in (True, False):
            facts = {split: rows for split, rows in self.facts.items() if len(rows) and (split in READ) == read}
            if facts:
                scorer = scorer_of(self.without_new_training() if read else self.graph)
                measured |= {split: self._of_split(scorer, split, at_most, batch_size) for split in facts}
        return measured

    def without_new_training(self) -> KnowledgeGraph:
        """The graph as it would be if its new training facts were not in it."""
        rest = {split: _minus(self.graph.split(split), self.facts[split]) for split in READ if split in self.facts}
        splits = {name: rest.get(name, triples) for name, triples in self.graph.splits.items()}
        return replace(self.graph, train=rest["train"], splits=splits, weights={})

    def _of_split(self, scorer: TripleScorer, split: str, at_most: int, batch_size: int) -> dict[str, dict[str, Any]]:
        facts = subsample(torch.from_numpy(self.facts[split]), at_most, 0)
        # Of the two graphs of an inductive data set, that of the split.
        name = f"{'inductive_' * split.startswith('inductive_')}new"
        asked = replace(self.graph, splits={**self.graph.splits, name: facts})
        if hasattr(scorer, "prepare"):
            scorer.prepare(facts)
        sides = ranks(scorer, asked, name, batch_size=batch_size).sides.values()
        with_new = torch.from_numpy(self.is_new)[facts[:, [0, 2]]].any(1)
        parts = {KNOWN: ~with_new, PLACED if self.placed and split == "train" else NEW: with_new}
        return {
            part: RankSummary.values(torch.cat([side.realistic[rows] for side in sides]))
            for part, rows in parts.items()
            if rows.any()
        }


def _minus(triples: Tensor, others: np.ndarray) -> Tensor:
    """The triples (n, 3) that are not among others."""
    if not len(others):
        return triples
    both = np.concatenate([triples.numpy(), others])
    _, keys = np.unique(both, axis=0, return_inverse=True)
    keys = keys.reshape(-1)
    return triples[torch.from_numpy(~np.isin(keys[: len(triples)], keys[len(triples) :]))]
