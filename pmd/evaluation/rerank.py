"""Neighbour re-ranking: answers near the known entity in the graph get a small bonus (SimKGC, Sec. 3.4).

A text encoder compares descriptions and does not see the graph. Adding a constant to every candidate
within a few hops of the query's known entity helps where relations are local (Wang et al., ACL 2022: 0.05;
5 hops on WN18RR, 2 on FB15k-237). It belongs to evaluation only, and only the graph that the model may see
counts: the training triples, without direction.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import Target
from pmd.data.graphs.graph import KnowledgeGraph


class NeighbourRerank:
    """Adds `weight` to the score of each entity within `hops` of the known entity, that entity included.

    Args:
        triples: int64 (n, 3), the visible graph; direction and relation do not matter.
        num_entities: size of the candidate axis.
        hops: how far to go; 0 reaches the known entity only.
        weight: what is added, once for each candidate.
        max_nodes: an entity that reaches more than this many is left without a bonus, as in SimKGC's code.
        cache_size: neighbour ids kept between calls, 4 bytes each; the least recently used ones go first.
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

    @classmethod
    def from_graph(
        cls, graph: KnowledgeGraph, split: str = "test", *, hops: int, weight: float = 0.05
    ) -> NeighbourRerank:
        """Re-ranking by the triples that a model may see when it is tested on `split`."""
        return cls(graph.visible_triples(split), graph.num_entities, hops, weight)

    def adjust(self, scores: Tensor, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities) of the queries of triples (b, 3) -> new scores; the given ones stay."""
        known = triples[:, 2 if target == "head" else 0].tolist()
        reached = self.neighbours(known)
        row = np.repeat(np.arange(len(known)), [len(ids) for ids in reached])
        place = torch.from_numpy(row * scores.shape[1] + np.concatenate(reached)).to(scores.device)  # (m,)
        adjusted = scores.clone(memory_format=torch.contiguous_format)
        flat = adjusted.view(-1)
        flat.index_add_(0, place, flat.new_full((1,), self.weight).expand(len(place)))
        return adjusted

    def neighbours(self, entities: list[int]) -> list[np.ndarray]:
        """For each entity the ids (int32, each once, no order) of what it reaches within `hops`."""
        found = {entity: self._cache[entity] for entity in entities if entity in self._cache}
        missing = [entity for entity in dict.fromkeys(entities) if entity not in found]
        if missing:
            found.update(self._search(missing))
        for entity, ids in found.items():
            self._remember(entity, ids)
        return [found[entity] for entity in entities]

    def _search(self, entities: list[int]) -> dict[int, np.ndarray]:
        """Breadth-first search from all entities at once: a row of reached entities each, times one step."""
        ones = np.ones(len(entities), dtype=bool)
        start = (ones, (np.arange(len(entities)), entities))
        reach = sparse.csr_array(start, shape=(len(entities), self._step.shape[0]))
        for _ in range(self.hops):
            before = reach.nnz
            reach = reach @ self._step
            if reach.nnz == before:
                break
        parts = np.split(reach.indices.astype(np.int32, copy=False), reach.indptr[1:-1])
        kept = (part[:0] if len(part) > self.max_nodes else part for part in parts)
        # Copies, so that one cached row does not keep the ids of the whole batch alive.
        return {entity: part.copy() for entity, part in zip(entities, kept)}

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
    head, tail = triples[:, 0].cpu().numpy(), triples[:, 2].cpu().numpy()
    itself = np.arange(num_entities)
    row, column = np.concatenate([head, tail, itself]), np.concatenate([tail, head, itself])
    entries = (np.ones(len(row), dtype=bool), (row, column))
    step = sparse.csr_array(entries, shape=(num_entities, num_entities))
    step.sum_duplicates()
    return step
