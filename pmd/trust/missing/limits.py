"""How many suggestions there are: in all, of a relation, and with an entity, so that neither a relation nor a hub fills the list."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pmd.core.errors import PmdError

RELATION_SHARE, ENTITY_SHARE, FEWEST = 5, 20, 10
"""By default a relation has at most a fifth of the suggestions, an entity a twentieth, and neither is held to fewer than ten."""
KEPT = 20
"""Candidates of a relation that are kept for each suggestion that it may have: the others may be left out for their entities."""


@dataclass(frozen=True)
class Limits:
    """PmdError for what cannot be.

    Args:
        top: suggestions in all.
        per_relation, per_entity: of a relation, and with an entity at either end; `of` has the defaults.
        at_least: the probability that a suggestion has as either answer, head and tail.
    """

    top: int
    per_relation: int
    per_entity: int
    at_least: float = 0.01

    @classmethod
    def of(
        cls, top: int, per_relation: int | None, per_entity: int | None, at_least: float, num_relations: int
    ) -> Limits:
        """With the defaults for None: a fifth of `top` for a relation, all in equal parts if there are fewer than five."""
        by_relation = max(FEWEST, -(-top // min(RELATION_SHARE, max(1, num_relations))))
        by_entity = max(FEWEST, top // ENTITY_SHARE)
        limits = (
            by_relation if per_relation is None else per_relation,
            by_entity if per_entity is None else per_entity,
        )
        return cls(top, *limits, at_least)

    def __post_init__(self):
        for name in ("top", "per_relation", "per_entity"):
            if getattr(self, name) < 1:
                raise PmdError(f"{name}: {getattr(self, name)} suggestions are none; ask for at least 1")
        if not 0 < self.at_least < 1:
            raise PmdError(f"at_least: {self.at_least:g} is no probability between 0 and 1; give one such as 0.01")

    @property
    def kept(self) -> int:
        """How many candidates of a relation are kept."""
        return KEPT * self.per_relation

    def chosen(self, triples: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The rows of the suggestions among triples (m, 3) with probabilities (m,): best first, ties by position, each taken unless its
        relation or one of its entities has enough."""
        order = np.lexsort((triples[:, 2], triples[:, 0], triples[:, 1], -probabilities))
        relations, entities, rows = Counter(), Counter(), []
        for row in order.tolist():
            head, relation, tail = triples[row].tolist()
            ends = {head, tail}
            if relations[relation] < self.per_relation and all(entities[end] < self.per_entity for end in ends):
                relations[relation] += 1
                entities.update(ends)
                rows.append(row)
                if len(rows) == self.top:
                    break
        return np.array(rows, dtype=np.int64)
