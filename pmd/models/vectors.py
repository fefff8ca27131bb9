"""Vectors as a scorer: what any other program computes can be ranked, and can teach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import normalize

from pmd.core.types import Target

BLOCK = 2**16
"""Vectors in half precision that are read at a time."""


@dataclass(frozen=True)
class VectorScorer:
    """Scores by inner products of query vectors with entity vectors.

    Args:
        query_vectors: from int64 triples (b, 3) and the end that is asked for to vectors (b, d).
        entity_vectors: (num_entities, d), perhaps in half precision where those of queries are not: a table in a file, by
            `torch.from_numpy(np.load(file, mmap_mode="c"))`, then stays there.
        scale: factor on the products.

    Example:
        >>> relations, entities = torch.randn(2 * graph.num_relations, 8), torch.randn(graph.num_entities, 8)
        >>> scorer = pmd.VectorScorer(lambda triples, target: relations[triples[:, 1]], entities)
        >>> scorer.score_all(graph.test[:5], "tail").shape
        torch.Size([5, 1887])
    """

    query_vectors: Callable[[Tensor, Target], Tensor]
    entity_vectors: Tensor
    scale: float = 1.0

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities), fp32, of every entity as the `target` of each of the triples (b, 3)."""
        return inner_products(self.query_vectors(triples, target), self.entity_vectors).float().mul_(self.scale)


def leading_dimensions(vectors: Tensor, width: int) -> Tensor:
    """The first `width` dimensions of unit vectors (…, d) as unit vectors (…, width); all d as they are.

    A length does not matter for what is brought to length 1: these are the vectors that `BiEncoder.pool` makes of that width.
    """
    return vectors if width == vectors.shape[-1] else normalize(vectors[..., :width], dim=-1)


def inner_products(queries: Tensor, vectors: Tensor) -> Tensor:
    """Scores (b, n) of queries (b, w) and vectors (n, w). Vectors of fewer bits, also unit vectors (n, d) with d > w, are read in
    blocks, in the precision of the queries."""
    if vectors.dtype == queries.dtype:
        return queries @ vectors.T
    scores = queries.new_empty(len(queries), len(vectors))
    for columns, block in zip(scores.split(BLOCK, 1), vectors.split(BLOCK)):
        columns.copy_(queries @ leading_dimensions(block.to(queries), queries.shape[1]).T)
    return scores
