"""How likely a triple that the graph lacks holds, by its probabilities as an answer for the head and for the tail.

Each of these speaks of a query that lacks an answer, and most queries lack none: the best answer to a question without one looks as good
as to any other. So each counts as much as such queries lack facts:

    odds = √(odds as head · rate of (?, r, t) · odds as tail · rate of (h, r, ?))

The rate of a query is how many facts were held out of it on average, by its relation, its direction, and whether its entity stands at
that end of the relation in training: the places of the validation facts are counted, and their number is raised to that of
all that was held out (valid and test). Relations with few such facts are drawn to the mean of all by `PRIOR` facts more. So a probability
says how often such a triple holds if the graph lacks as many facts again as were held out of training, at places like theirs.

Example, 10 facts held out of the queries (h, r, ?) of 40 entities that have no other r: a rate of 0.25. A triple of such a query,
with probabilities of 0.8 and 0.9 and the same rate at its other end, has odds of √(4 · 0.25 · 9 · 0.25) = 1.5, and the probability 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pmd.trust.calibration import SPLITS
from pmd.trust.held_out import VISIBLE
from pmd.trust.odds import probability
from pmd.trust.sides import COLUMNS

PRIOR = 5.0
LEAST = 1e-12
"""Probabilities are kept so far from 0 and 1, so that their odds are finite."""


@dataclass(frozen=True, eq=False)
class Rates:
    """How many facts queries lack.

    Args:
        rates: (2, num_relations, 2) of head and tail queries, of entities that do not and that do stand at that end in training.
        seen: bool (2, num_relations, num_entities) which entities do, in the order of the queries.
    """

    rates: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, index: Any) -> Rates:
        """Those of a graph."""
        shape = 2, index.num_relations, index.num_entities
        visible, held_out = index.triples(*VISIBLE), index.triples(*SPLITS)
        of_all = len(index.triples(*(name for name in index.metadata["splits"] if name not in VISIBLE)))
        seen, rates = np.zeros(shape, dtype=bool), np.zeros((*shape[:2], 2))
        for side, (known_column, _) in enumerate(COLUMNS.values()):
            seen[side, visible[:, 1], visible[:, known_column]] = True
            stands = seen[side, held_out[:, 1], held_out[:, known_column]]
            for value in (False, True):
                facts = np.bincount(held_out[stands == value, 1], minlength=shape[1])
                queries = (seen[side] == value).sum(1)
                mean = max(facts.sum(), 1) / max(queries.sum(), 1)
                rates[side, :, int(value)] = (facts + PRIOR) / (queries + PRIOR / mean)
        return cls(rates * of_all / max(1, len(held_out)), seen)

    def probabilities(self, triples: np.ndarray, sides: np.ndarray) -> np.ndarray:
        """The probabilities (m,) of triples (m, 3), by those (m, 2) as answers for the head and for the tail; 0 where one is 0."""
        limited = np.clip(sides, LEAST, 1 - LEAST)
        logits = np.log(limited / (1 - limited))
        for side, (known_column, _) in enumerate(COLUMNS.values()):
            seen = self.seen[side, triples[:, 1], triples[:, known_column]]
            logits[:, side] += np.log(self.rates[side, triples[:, 1], seen.astype(int)])
        return np.where((sides == 0).any(1), 0, probability(logits.mean(1)))
