"""Vectors as a scorer: what any other program computes can be ranked, and can teach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pmd.core.types import Target


@dataclass(frozen=True)
class VectorScorer:
    """Scores by inner products of query vectors with entity vectors.

    Args:
        query_vectors: from int64 triples (b, 3) and the end that is asked for to vectors (b, d).
        entity_vectors: (num_entities, d).
        scale: factor on the products.
    """

    query_vectors: Callable[[Tensor, Target], Tensor]
    entity_vectors: Tensor
    scale: float = 1.0

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities) in single precision."""
        return self.scale * (self.query_vectors(triples, target) @ self.entity_vectors.T).float()
