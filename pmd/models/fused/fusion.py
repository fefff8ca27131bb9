"""The structure part of the entities and relations of one graph, and the weights of both parts: all that a fused model needs
beside its text encoder, in NumPy.

An entity is known to the structure if the embedding model was trained on it and the graph has it under the same id and name. Any
other has, as a candidate, the mean of the known ones, so that its structure score is the mean of the query's; and as the known
end of a query it has no structure part: its text alone counts, on the same scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmd.models.fused.tables import ProductTables
from pmd.models.fused.weights import FusionWeights


@dataclass(frozen=True, eq=False)
class Fusion:
    """What a fused model knows of a graph beside texts.

    Args:
        tables: the structure's queries, by question.
        weights: of both parts, by question.
        known: (num_entities,) whether the structure knows an entity.
        asked: (questions,) whether it knows a question.
        degrees: (num_entities,) training triples of an entity.
    """

    tables: ProductTables
    weights: FusionWeights
    known: np.ndarray
    asked: np.ndarray
    degrees: np.ndarray

    def candidates(self, entities: np.ndarray) -> np.ndarray:
        """Entities (n, parts, dim), those that are not known left as they come -> structure parts (n, width)."""
        parts = self.tables.candidates(entities).copy()
        parts[~self.known] = parts[self.known].mean(0, dtype=np.float64) if self.known.any() else 0
        return parts

    def queries(self, vectors: np.ndarray, entities: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """The structure parts (b, width) of queries, from the structure parts (n, width) of all candidates; an entity (b,) is −1
        where it is in no graph."""
        return self.tables.queries(self.tables.entities(vectors[entities]), questions)

    def factors(
        self, entities: np.ndarray, questions: np.ndarray, scores: Callable[[], tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        """The factors (b, 2) of both parts of queries; `scores` gives those of either part, where they are needed."""
        knows = self.known[entities] & (entities >= 0) & self.asked[questions]
        if not self.weights.by_query:
            return self.weights.of(questions, knows)
        degrees = np.where(entities >= 0, self.degrees[entities], 0)
        return self.weights.of(questions, knows, *scores(), degrees)

    def crop(self, width: int) -> Fusion:
        """The same of the leading dimensions of the structure."""
        return Fusion(self.tables.crop(width), self.weights, self.known, self.asked, self.degrees)

    def crop_vectors(self, vectors: np.ndarray, width: int) -> np.ndarray:
        """Structure parts (n, width) of the leading dimensions, from those of all."""
        return self.crop(width).candidates(self.tables.crop_entities(self.tables.entities(vectors), width))

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays, to be stored by name."""
        own = {"known": self.known.astype(np.uint8), "asked": self.asked.astype(np.uint8), "degrees": self.degrees}
        return {**self.tables.columns(), **self.weights.columns(), **own}

    @classmethod
    def stored(cls, column: Callable[[str], np.ndarray], facts: Mapping[str, Any]) -> Fusion:
        """What was stored as `columns`, and as the facts of its tables and weights."""
        known, asked = (column(name).astype(bool) for name in ("known", "asked"))
        tables, weights = ProductTables.stored(column, facts["tables"]), FusionWeights.stored(column, facts)
        return cls(tables, weights, known, asked, column("degrees"))
