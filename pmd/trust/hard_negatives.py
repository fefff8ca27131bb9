"""False triples that are hard to tell from true ones: one end is replaced by an entity that stands at the same place of the
relation in training, and the result is in no split. As CoDEx has it (Safavi and Koutra, EMNLP 2020), without its annotators:
some may be true and missing, so that an accuracy on them is a lower bound.

Example: (Austria, official language, German) becomes (Austria, official language, Hungarian), never (Austria, official
language, euro).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TRIES = 20
"""Draws for a triple, before its other end is replaced."""


def hard_negatives(
    triples: np.ndarray,
    seen: np.ndarray,
    num_relations: int,
    is_known: Callable[[np.ndarray], np.ndarray],
    seed: int = 0,
) -> np.ndarray:
    """A false triple for each true one, by turns with another head and another tail.

    Args:
        triples: (n, 3) true ones.
        seen: (m, 3) triples that say what fits the places of relations.
        is_known: from triples (b, 3) to whether each is in a split (b,).

    Returns:
        (≤ n, 3): a triple is left out if nothing that fits makes a false one of it.
    """
    random = np.random.default_rng(seed)
    places = {column: _entities_at(seen, column, num_relations) for column in (0, 2)}
    made, ends = [], np.resize([2, 0], len(triples))
    open_rows = np.arange(len(triples))
    for turn in range(2 * TRIES):
        if turn == TRIES:
            ends = 2 - ends
        drawn = triples[open_rows].copy()
        for column in (0, 2):
            rows = np.flatnonzero(ends[open_rows] == column)
            drawn[rows, column] = _drawn(places[column], drawn[rows, 1], random)
        false = (drawn >= 0).all(1)
        false[false] = ~is_known(drawn[false])
        made.append(np.column_stack([open_rows, drawn])[false])
        open_rows = open_rows[~false]
    rows = np.concatenate(made)
    return rows[np.argsort(rows[:, 0])][:, 1:]


def _entities_at(seen: np.ndarray, column: int, num_relations: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct entities of a column by relation: those of relation r from offset r to offset r + 1."""
    span = int(seen[:, column].max(initial=0)) + 1
    pairs = np.sort(seen[:, 1] * span + seen[:, column])  # np.unique of rows takes minutes for millions
    relations, entities = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], span)
    return entities, np.searchsorted(relations, np.arange(num_relations + 1))


def _drawn(places: tuple[np.ndarray, np.ndarray], relations: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An entity (b,) that fits each relation, -1 where none does."""
    entities, offsets = places
    first, counts = offsets[relations], offsets[relations + 1] - offsets[relations]
    position = first + (random.random(len(relations)) * counts).astype(np.int64)
    return np.where(counts > 0, entities[np.minimum(position, len(entities) - 1)] if len(entities) else -1, -1)
