"""Facts of the same relation that lie near a triple: their heads near its head, their tails near its tail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NearFact:
    """A fact (head, relation, tail), and the cosines of its ends with those of the triple; None for an end that is in no graph."""

    fact: tuple[int, int, int]
    head_cosine: float | None
    tail_cosine: float | None


def near_facts(
    facts: np.ndarray,
    triple: tuple[int | None, int, int | None],
    unit_vectors: Callable[[np.ndarray], np.ndarray],
    count: int = 3,
) -> list[NearFact]:
    """The nearest facts, by the mean of the cosines of both ends.

    Args:
        facts: (n, 3) training facts.
        triple: head, relation and tail; an end that is in no graph is None. It is not among its own nearest.
        unit_vectors: from entities (k,) to vectors (k, d) of length 1.
        count: how many.
    """
    head, relation, tail = triple
    alike = facts[facts[:, 1] == relation]
    alike = alike[(alike[:, [0, 2]] != [-1 if end is None else end for end in (head, tail)]).any(1)]
    cosines = [_cosines(alike[:, column], end, unit_vectors) for column, end in ((0, head), (2, tail))]
    given = [cosine for cosine in cosines if cosine is not None]
    order = np.argsort(-np.mean(given, axis=0), kind="stable")[:count]
    columns = [[None] * len(order) if cosine is None else cosine[order].tolist() for cosine in cosines]
    return [NearFact(tuple(fact), *both) for fact, *both in zip(alike[order].tolist(), *columns)]


def _cosines(
    entities: np.ndarray, end: int | None, unit_vectors: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """The cosines (n,) of entities (n,) with an end, each distinct one computed once."""
    if end is None:
        return None
    distinct, rows = np.unique(entities, return_inverse=True)
    cosines = unit_vectors(distinct) @ unit_vectors(np.array([end]))[0]
    return np.minimum(cosines, 1)[rows]  # rounding may put it above
