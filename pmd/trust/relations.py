"""Which relations join two entities: every relation is tried, and those triples are ranked.

A triple counts from both ends: (h, r, ?) asks how well t does among the tails, (?, r, t) how well h does among the heads
(`pmd.trust.sides`). With the measure `share` a relation wins that makes both ends likely: a relation whose place an entity does
not fit gives it a small share of one side at least.
"""

from __future__ import annotations

import numpy as np

from pmd.trust.sides import MEASURES, Asked, Probability, Sides, affordable, measured, sides_of

PAIRS = 100
"""Validation triples whose relations are ranked to choose a measure."""
CANDIDATES, FEWEST_CANDIDATES = 24, 4
"""Relations, the true one among them, that are tried for each of these; all of them if there are no more, and fewer among millions of
entities."""


def with_relations(pairs: np.ndarray, relations: np.ndarray) -> np.ndarray:
    """The triples (n · c, 3) of pairs (n, 2) of a head and a tail with each of their relations (n, c)."""
    heads, tails = np.repeat(pairs, relations.shape[1], axis=0).T
    return np.column_stack([heads, relations.reshape(-1), tails])


def relation_sides(
    model: Asked, pairs: np.ndarray, inverse_temperature: float, probability: Probability | None = None
) -> tuple[np.ndarray, Sides]:
    """The triples (n · num_relations, 3) of pairs (n, 2) with every relation, and both their sides."""
    triples = with_relations(pairs, np.tile(np.arange(model.index.num_relations), (len(pairs), 1)))
    return triples, sides_of(model, triples, [inverse_temperature], probability)


def relation_ranks(values: np.ndarray, true: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The realistic ranks (n,) of the columns `true` (n,) among values (n, c) of relations, those that are `known` (n, c) to
    join the same entities left out."""
    rows = np.arange(len(values))
    own = values[rows, true][:, None]
    others = ~known
    others[rows, true] = False
    return 1 + (others & (values > own)).sum(1) + (others & (values == own)).sum(1) / 2


def relation_measure(model: Asked, triples: np.ndarray, inverse_temperature: float, seed: int = 0) -> str:
    """The measure with the highest MRR of the relations of some of these triples (n, 3)."""
    random, number = np.random.default_rng(seed), model.index.num_relations
    triples = triples[np.sort(random.permutation(len(triples))[:PAIRS])]
    others = np.argsort(random.random((len(triples), number)), axis=1)
    others = others[others != triples[:, 1:2]].reshape(len(triples), number - 1)
    queries = affordable(2 * PAIRS * CANDIDATES, 2 * PAIRS * FEWEST_CANDIDATES, model.index.num_entities)
    candidates = np.column_stack([triples[:, 1], others])[:, : queries // (2 * PAIRS)]
    tried = with_relations(triples[:, [0, 2]], candidates)
    sides = sides_of(model, tried, [inverse_temperature])
    known = (model.index.splits_of(tried) > 0).reshape(candidates.shape)
    true = np.zeros(len(triples), dtype=np.int64)

    def mrr(measure: str) -> float:
        return float((1 / relation_ranks(measured(sides, measure).reshape(candidates.shape), true, known)).mean())

    return max(MEASURES, key=mrr)
