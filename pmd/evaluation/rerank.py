"""Neighbour re-ranking: candidates near the known entity in the graph get a small bonus (SimKGC, section 3.4).

A text encoder compares descriptions and does not see the graph. Adding a constant to every candidate within a
few hops of the query's known entity helps where relations are local (Wang et al., ACL 2022: 0.05; 5 hops on
WN18RR, 2 on FB15k-237). It is part of evaluation alone, and takes only the graph that the model may see: the
training triples, without direction.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import KNOWN_COLUMN, Target


class NeighbourRerank:
    """Adds `weight` to the score of each entity within `hops` of the known entity, that entity included.

    Args:
        triples: int64 (n, 3), those that the model may see (`KnowledgeGraph.visible_triples`).
        num_entities: of the graph.
        hops: how far to go; 0 reaches the known entity only.
        weight: what is added, once to each candidate.
        max_nodes: where more entities than this are within reach, none gets a bonus, as in SimKGC's code.
        cache_size: neighbour ids kept between calls, 4 bytes each; the least recently used go first.

    Raises:
        PmdError: for negative hops.
    """

    def __init__(
        self,
        triples: Tensor,
        num_entities: int,
        hops: int,
        weight: float = 0.05,
        *,
        max_nodes: int = 100_000,
        cache_size: int = 50_000_000,
    ) -> None:
        if hops < 0:
            raise PmdError(f"hops must be 0 or more, not {hops}")
        self.hops = hops
        self.weight = weight
        self.max_nodes = max_nodes
        self.cache_size = cache_size
        self._step = _one_step(triples, num_entities)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cached = 0  # ids in the cache

    def adjust(self, scores: Tensor, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities) of the queries of triples (b, 3) -> new scores; the given ones stay."""
        known = triples[:, KNOWN_COLUMN[target]].tolist()
        neighbours = self.neighbours(known)
        row = np.repeat(np.arange(len(known)), [len(ids) for ids in neighbours])
        index = torch.from_numpy(row * scores.shape[1] + np.concatenate(neighbours)).to(scores.device)  # (m,)
        adjusted = scores.clone(memory_format=torch.contiguous_format)
        flat = adjusted.view(-1)
        flat.index_add_(0, index, flat.new_full((1,), self.weight).expand(len(index)))
        return adjusted

    def neighbours(self, entities: list[int]) -> list[np.ndarray]:
        """For each entity the ids (int32, each once, in no order) of the entities within `hops`."""
        neighbours = {entity: self._cache[entity] for entity in entities if entity in self._cache}
        missing = [entity for entity in dict.fromkeys(entities) if entity not in neighbours]
        if missing:
            neighbours.update(self._search(missing))
        for entity, ids in neighbours.items():
            self._remember(entity, ids)
        return [neighbours[entity] for entity in entities]

    def _search(self, entities: list[int]) -> dict[int, np.ndarray]:
        """Breadth-first search from all entities at once: a row of reached entities for each, times the matrix of a step."""
        ones = np.ones(len(entities), dtype=bool)
        start = (ones, (np.arange(len(entities)), entities))
        reached = sparse.csr_array(start, shape=(len(entities), self._step.shape[0]))
        for _ in range(self.hops):
            before = reached.nnz
            reached = reached @ self._step
            if reached.nnz == before:
                break
        rows = np.split(reached.indices.astype(np.int32, copy=False), reached.indptr[1:-1])
        kept = (row[:0] if len(row) > self.max_nodes else row for row in rows)
        # Copies, so that one cached row does not keep the ids of the whole batch alive.
        return {entity: row.copy() for entity, row in zip(entities, kept)}

    def _remember(self, entity: int, ids: np.ndarray) -> None:
        if entity not in self._cache:
            self._cached += len(ids)
        self._cache[entity] = ids
        self._cache.move_to_end(entity)
        while self._cached > self.cache_size:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped)


def _one_step(triples: Tensor, num_entities: int) -> sparse.csr_array:
    """Boolean (num_entities, num_entities): from each entity to its neighbours and to itself."""
    heads, tails = triples[:, 0].cpu().numpy(), triples[:, 2].cpu().numpy()
    everyone = np.arange(num_entities)
    row, column = np.concatenate([heads, tails, everyone]), np.concatenate([tails, heads, everyone])
    entries = (np.ones(len(row), dtype=bool), (row, column))
    step = sparse.csr_array(entries, shape=(num_entities, num_entities))
    step.sum_duplicates()
    return step
