"""Held-out triples as questions: the score of each true answer, and those of its rivals.

Every triple is asked in both directions. The rivals of its answer are the other candidates: without those that some split knows to
be answers too (filtered), or all of them. Their scores are sorted and thinned out: the best `EXACT` are kept, and of the others one
for every factor `GROWTH` of the rank, which stands for those around it. So a question takes about a hundred numbers whatever the
size of the graph, and sums over the rivals stay nearly exact.

Example, scores (2, 1, 0) of the candidates at inverse temperature 1: the first has the odds e² : (e¹ + e⁰), so log-odds of 0.69.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmd.trust.sides import COLUMNS, Asked, scored_queries

VISIBLE = ("train", "inductive_train")
"""The splits of training: what a model may know."""
EXACT, GROWTH = 64, 1.1
LIMIT = 60.0
"""Log-odds beyond it are not told apart."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Questions (q) with one true answer each.

    Args:
        groups: (q,) relation and direction: r where the head of r is asked for, num_relations + r where the tail is.
        true: (q,) scores of the true answers.
        rivals: (q, m) scores, the highest first; -inf where a question has fewer.
        counts: (m,) how many rivals each of them stands for.
    """

    groups: np.ndarray
    true: np.ndarray
    rivals: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    def __getitem__(self, rows: Any) -> HeldOut:
        return HeldOut(self.groups[rows], self.true[rows], self.rivals[rows], self.counts)

    def log_odds(self, inverse_temperatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the true answers (q,) and of the rivals (q, m), each in the softmax over all candidates of its question, which has
        an inverse temperature (q,)."""
        true, rivals = self.true * inverse_temperatures, self.rivals * inverse_temperatures[:, None]
        highest = np.maximum(true, rivals[:, 0])[:, None]
        own, each = np.exp(true[:, None] - highest), np.exp(rivals - highest)
        below = (self.counts * each)[:, 1:].sum(1, keepdims=True)
        others = own + each[:, :1] + below - each
        others[:, :1] = own + below  # summed without the highest, where the difference would cancel
        return _logs(true - highest[:, 0], each[:, 0] + below[:, 0]), _logs(rivals - highest, others)


def log_odds(
    scores: np.ndarray, is_rival: np.ndarray, inverse_temperature: float, entities: np.ndarray | None = None
) -> np.ndarray:
    """The log-odds of some `entities` (m,), by default of all (n,), by the scores (n,) of all: of each in the softmax over it and
    the other rivals. Those of a score of -inf are -inf."""
    asked = slice(None) if entities is None else entities
    logits = scores.astype(np.float64) * inverse_temperature
    of_rivals = np.where(is_rival, logits, -np.inf)
    best = int(of_rivals.argmax())
    # The highest of rivals, not of all: beside a known answer far above them their exponentials would all be 0.
    highest = of_rivals[best] if of_rivals[best] > -np.inf else 0.0
    each = np.exp(of_rivals - highest)
    top, each[best] = each[best], 0
    below = each.sum()
    others = top + below - each
    others[best] = below
    return _logs(logits[asked] - highest, others[asked])


def _logs(logits: np.ndarray, others: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing may be left
        return np.where(logits > -np.inf, np.clip(logits - np.log(others), -LIMIT, LIMIT), -np.inf)


def held_out(model: Asked, splits: Sequence[str], max_triples: int | None = None) -> tuple[HeldOut, HeldOut]:
    """The questions of some splits with the rivals that no split knows, and with all; at most so many triples, drawn by a fixed
    seed, without those that a training split has too. PmdError for a model that gives NaN."""
    triples = held_out_triples(model.index, splits)
    if max_triples is not None and len(triples) > max_triples:
        triples = triples[np.sort(np.random.default_rng(0).choice(len(triples), max_triples, replace=False))]
    ranks, counts = kept_ranks(model.index.num_entities)
    number = 2 * len(triples)
    groups, true, rivals = np.empty(number, np.int64), np.empty(number), np.empty((2, number, len(ranks)))
    for side, (target, (known_column, answer_column)) in enumerate(COLUMNS.items()):
        groups[side * len(triples) :][: len(triples)] = triples[:, 1] + side * model.index.num_relations
        for rows, scores in scored_queries(model, triples, target):
            known = model.index.known_answers(target, triples[rows[0], known_column], triples[rows[0], 1])[0]
            questions, answers = side * len(triples) + rows, triples[rows, answer_column]
            true[questions] = scores[answers]
            negated = np.sort(-scores)  # once for all answers of a query
            rivals[0, questions] = -_without(negated, -scores[known], ranks)
            for question, answer in zip(questions.tolist(), answers.tolist()):
                rivals[1, question] = -_without(negated, -scores[[answer]], ranks)
    return HeldOut(groups, true, rivals[0], counts), HeldOut(groups, true, rivals[1], counts)


def _without(ascending: np.ndarray, values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """What stands at some ranks (k,) of sorted numbers (n,) without some of them (m,); inf behind their end."""
    values = np.sort(values)
    which_of_equal = np.arange(len(values)) - np.searchsorted(values, values)
    removed = np.searchsorted(ascending, values) + which_of_equal
    # Number i of the removed ones has removed[i] - i others before it.
    places = ranks + np.searchsorted(removed - np.arange(len(removed)), ranks, "right")
    return np.where(places < len(ascending), ascending[np.minimum(places, len(ascending) - 1)], np.inf)


def held_out_triples(index: Any, splits: Sequence[str]) -> np.ndarray:
    """The triples (m, 3) of some splits, without those that a training split has too."""
    triples = index.triples(*splits)
    bits = sum(1 << i for i, name in enumerate(index.metadata["splits"]) if name in VISIBLE)
    return triples[(index.splits_of(triples) & bits) == 0]


def kept_ranks(num_entities: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions (m,) in a sorted row of scores that are kept, and how many positions each stands for."""
    later = EXACT * GROWTH ** np.arange(int(np.log(max(1, num_entities / EXACT)) / np.log(GROWTH)) + 1)
    ranks = np.unique([*range(min(EXACT, num_entities)), *later[later < num_entities].astype(int), num_entities - 1])
    edges = np.ceil((ranks[1:] + ranks[:-1]) / 2).astype(int)
    return ranks, np.diff([0, *edges, num_entities])
