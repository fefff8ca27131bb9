"""A triple seen from both ends: how its tail does among all tails of (h, r, ?), and its head among all heads of (?, r, t).

Scores of different queries are no measure of each other: a query that fits nothing well gives low ones to all. What can be
compared is a rank, or the share of an answer in the softmax over the candidates of its query. Other known answers do not
compete, as in filtered ranking. Every distinct query is scored once.

Example, scores (2, 1, 1, 0) of four entities, entity 0 is a known answer, the answer is entity 1, inverse temperature 1: among
the others its rank is 1.5 (it ties with one), its share 1 / (1 + 1 + e^-1) = 0.42.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pmd.core.errors import PmdError

QUERIES_PER_BLOCK, SCORES_PER_BLOCK = 64, 2**26
"""Queries that are scored together, and their scores, at most; the memory holds a few times that many."""
MAX_SCORES = 2**30
"""Scores that each lesson of validation takes, about: from some 130,000 entities on fewer queries are asked."""
FEW = 8
"""Scores that are compared with all others one by one."""
COLUMNS = {"head": (2, 0), "tail": (0, 2)}
"""By target: the columns of the known entity and of the answer."""
MEASURES = ("score", "share", "rank")
"""What makes one number of both sides (`measured`)."""


Probability = Callable[[str, int, int, np.ndarray, np.ndarray], np.ndarray | None]
"""From a query (target, known entity, relation), its scores (num_entities,) and its known answers (k,) to the probabilities of all
entities; None if nothing was learned of such queries."""


def affordable(most: int, fewest: int, num_entities: int) -> int:
    """How many queries over so many entities a lesson asks: at most `most` and, however many entities, at least `fewest`."""
    return min(most, max(fewest, MAX_SCORES // max(1, num_entities)))


class Asked(Protocol):
    """A model that answers questions, as far as it is needed here."""

    @property
    def index(self) -> Any:
        """Its `pmd.use.index.Index`."""

    def query_scores(self, target: str, entities: np.ndarray, relations: np.ndarray) -> np.ndarray:
        """The scores (b, num_entities) of all entities as answers to queries of known entities (b,) and relations (b,)."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Triples (n), each as an answer for the head and as one for the tail.

    Args:
        scores: (n, 2).
        shares: (n, 2, k) logarithms of the shares, at k inverse temperatures.
        ranks: (n, 2) realistic and filtered.
        probabilities: (n, 2) as answers to either query, NaN where they are not asked for, or nothing was learned of such queries.
    """

    scores: np.ndarray
    shares: np.ndarray
    ranks: np.ndarray
    probabilities: np.ndarray


def sides_of(
    model: Asked, triples: np.ndarray, inverse_temperatures: Sequence[float], probability: Probability | None = None
) -> Sides:
    """Both sides of triples (n, 3). PmdError for a model that gives NaN."""
    shape, betas = (len(triples), 2), np.asarray(inverse_temperatures, dtype=np.float64)
    sides = Sides(np.empty(shape), np.empty((*shape, len(betas))), np.empty(shape), np.full(shape, np.nan))
    for side, (target, (known_column, answer_column)) in enumerate(COLUMNS.items()):
        for rows, scores in scored_queries(model, triples, target):
            entity, relation = triples[rows[0], known_column], triples[rows[0], 1]
            known = model.index.known_answers(target, entity, relation)[0]
            answers = triples[rows, answer_column]
            sides.scores[rows, side] = scores[answers]
            sides.ranks[rows, side] = realistic_ranks(scores, answers, known)
            sides.shares[rows, side] = log_shares(scores, answers, known, betas)
            every = probability and probability(target, entity, relation, scores, known)
            if every is not None:
                sides.probabilities[rows, side] = every[answers]
    return sides


def scored_queries(model: Asked, triples: np.ndarray, target: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every distinct query of triples (n, 3): the rows of its triples, and the scores (num_entities,) of all entities, -inf for
    those of the other graph of an inductive data set. Queries of a relation follow each other: `Types` keeps its fits."""
    known_column, _ = COLUMNS[target]
    order = np.lexsort((triples[:, known_column], triples[:, 1]))
    asked = triples[order][:, [known_column, 1]]
    first = np.flatnonzero(np.any(np.diff(asked, axis=0, prepend=-1) != 0, axis=1))
    groups = np.split(order, first[1:])
    subgraphs = model.index.subgraphs
    size = max(1, min(QUERIES_PER_BLOCK, SCORES_PER_BLOCK // model.index.num_entities))
    for start in range(0, len(first), size):
        entities, relations = asked[first[start : start + size]].T
        block = model.query_scores(target, entities, relations)
        refuse_nan(block)
        for rows, entity, scores in zip(groups[start:], entities, block):
            if subgraphs is not None and subgraphs[entity]:
                scores = np.where(subgraphs == subgraphs[entity], scores, -np.inf)
            yield rows, scores


def refuse_nan(numbers: np.ndarray) -> None:
    """PmdError if scores of a model, or vectors that make them, have NaN among them."""
    if np.isnan(numbers.max(initial=-np.inf)):  # faster than to ask each
        raise PmdError("the model gives NaN as a score; its training may have diverged, so train it anew")


def realistic_ranks(scores: np.ndarray, answers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The ranks (m,) of answers (m,) among all scores (n,) but those of other known ones: the mean of the optimistic and the
    pessimistic rank."""
    own = scores[answers]
    above, not_below = _counted(scores, own) - _counted(scores[known], own)
    return (above + 1 + not_below + _among(answers, known)) / 2


def _counted(scores: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(2, m) how many scores are above each own one, and how many are not below it."""
    if len(own) <= FEW:  # a sort costs as much as many comparisons
        return np.array(
            [[np.count_nonzero(ahead(scores, one)) for one in own] for ahead in (np.greater, np.greater_equal)]
        )
    ascending = np.sort(scores)
    return len(scores) - np.stack([np.searchsorted(ascending, own, side) for side in ("right", "left")])


def _among(answers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each answer (m,) is among the known ones (k,), which ascend: np.isin takes twenty times longer for so few."""
    if not len(known):
        return np.zeros(len(answers), dtype=bool)
    return known[np.minimum(np.searchsorted(known, answers), len(known) - 1)] == answers


def log_shares(scores: np.ndarray, answers: np.ndarray, known: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """The logarithms (m, k) of the shares of answers (m,) in the softmax of all scores (n,) but those of other known ones, at
    inverse temperatures (k,)."""
    rest = scores.astype(np.float64)
    rest[known] = -np.inf
    highest = max(rest.max(), scores[answers].max())
    own = betas * (scores[answers, None] - highest)  # (m, k)
    with np.errstate(divide="ignore"):  # nothing may be left
        others = np.log([np.exp(beta * (rest - highest)).sum() for beta in betas])
    return own - np.where(_among(answers, known)[:, None], np.logaddexp(others, own), others)


def measured(sides: Sides, measure: str) -> np.ndarray:
    """The values (n,) of triples by a measure, with the shares of the first inverse temperature."""
    if measure == "score":
        return sides.scores.mean(1)
    return sides.shares[:, :, 0].mean(1) if measure == "share" else -np.log(sides.ranks).mean(1)
