"""Known answers of many queries at once, without a Python loop.

Filtered ranking and the removal of false negatives both ask "which entities complete (h, r, ?)?" for every row of a
batch. Each known triple becomes one int64 key, (h · num_relations + r) · num_entities + t; among the sorted keys the
answers of a query are consecutive and found by two binary searches. Memory: 8 bytes for each triple and target, and
nothing for each possible query, so millions of entities are fine.

Example, 10 entities and 2 relations: the triples (3, 1, 4), (3, 1, 8) and (5, 0, 2) have the keys 74, 78 and 102. The
query (3, 1, ?) is 7, its answers lie between 70 and 79: 4 and 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import ANSWER_COLUMN, KNOWN_COLUMN, TARGETS, Target

_INT64_MAX = 2**63 - 1
BLOCK = 2**22
"""Keys that are read at a time."""


def triple_keys(triples: Tensor, num_entities: int, num_relations: int, target: Target = "tail") -> Tensor:
    """One int64 key (n,) for each triple (n, 3): equal triples have equal keys, and keys of one query are consecutive.

    Raises PmdError where the keys would not fit into 64 bits.
    """
    if num_entities * num_entities * num_relations > _INT64_MAX:
        raise PmdError(
            f"{num_entities} entities with {num_relations} relations do not fit into 64-bit keys; "
            f"entities² × relations can be at most {_INT64_MAX}: split the graph or merge relations"
        )
    return query_keys(triples, num_relations, target).mul_(num_entities).add_(triples[:, ANSWER_COLUMN[target]])


def query_keys(triples: Tensor, num_relations: int, target: Target) -> Tensor:
    """One int64 key (n,) for the query of each triple (n, 3): equal if and only if the queries are equal."""
    return (triples[:, KNOWN_COLUMN[target]] * num_relations).add_(triples[:, 1])


def inverse_triples(triples: Any, num_relations: int) -> Any:
    """(t, r + num_relations, h) for each triple (n, 3), an array or a tensor: a query for its tail is one for the head here."""
    inverse = triples[:, [2, 1, 0]]
    inverse[:, 1] += num_relations
    return inverse


def distinct(keys: np.ndarray) -> np.ndarray:
    """Sorted distinct keys. `np.unique` hashes them, which took up to 50 times longer."""
    keys = np.sort(keys)
    is_new = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
    return keys if is_new.all() else keys[is_new]


def distinct_triples(triples: np.ndarray, num_relations: int) -> np.ndarray:
    """The distinct triples (m, 3), sorted, as `np.unique` of their rows gives them, in a tenth of the time."""
    num_entities = int(triples[:, [0, 2]].max(initial=0)) + 1
    keys = distinct(triple_keys(torch.from_numpy(triples), num_entities, num_relations).numpy())
    unpacked = np.empty((len(keys), 3), dtype=np.int64)
    np.divmod(keys, num_entities, out=(keys, unpacked[:, 2]))
    np.divmod(keys, num_relations, out=(unpacked[:, 0], unpacked[:, 1]))
    return unpacked


class KnownAnswers:
    """The answers that a set of triples knows.

    Args:
        triples: (n, 3) positions of head, relation and tail; duplicates count once.

    Raises:
        PmdError: where a position is outside `num_entities` or `num_relations`, or keys would not fit into 64 bits.
    """

    def __init__(self, triples: Tensor, num_entities: int, num_relations: int) -> None:
        self.num_entities = num_entities
        self.num_relations = num_relations
        self._sorted: dict[Target, Tensor] = {"tail": self._distinct(self._pack(self._checked(triples), "tail"))}

    @classmethod
    def of(cls, graph: Any, split: str = "test") -> KnownAnswers:
        """What a filtered rank of a split leaves out."""
        return cls(graph.known_triples(split), graph.num_entities, graph.num_relations)

    def lookup(self, triples: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """All known answers of the queries of triples (b, 3), as pairs.

        Returns:
            Rows (m,) ascending and entities (m,) ascending within a row, both int64. A triple's own answer is among them if
            it is known; the entry at `target` is not read.
        """
        keys = self._keys(target)
        queries = query_keys(self._checked(triples, target), self.num_relations, target)  # (b,)
        first_key = queries * self.num_entities
        start = torch.searchsorted(keys, first_key)
        count = torch.searchsorted(keys, first_key + (self.num_entities - 1), right=True) - start
        rows = torch.arange(len(triples), device=keys.device).repeat_interleave(count)  # (m,)
        # The answers of row i begin at cumsum(count)[i] - count[i] in the output, and at start[i] in `keys`.
        shift = start - (count.cumsum(0) - count)
        positions = torch.arange(len(rows), device=keys.device) + shift[rows]
        return rows, keys[positions] % self.num_entities

    def contains(self, triples: Tensor) -> Tensor:
        """Whether each triple (b, 3) is known: bool (b,)."""
        keys = self._keys("tail")
        wanted = self._pack(self._checked(triples), "tail")
        if not len(keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        return keys[torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)] == wanted

    def _keys(self, target: Target) -> Tensor:
        """Sorted, unique keys (u,) of the known triples, those for heads made when first used."""
        if target not in TARGETS:
            raise PmdError(f"target '{target}' is unknown; use 'head' or 'tail'")
        if target not in self._sorted:
            parts = [self._pack(self._unpacked(part), target) for part in self._sorted["tail"].split(BLOCK)]
            self._sorted[target] = self._distinct(torch.cat(parts))
        return self._sorted[target]

    @staticmethod
    def _distinct(keys: Tensor) -> Tensor:
        return torch.from_numpy(distinct(keys.cpu().numpy())).to(keys.device)

    def _unpacked(self, keys: Tensor) -> Tensor:
        """The triples (n, 3) of keys for tails."""
        queries, tails = keys // self.num_entities, keys % self.num_entities
        return torch.stack([queries // self.num_relations, queries % self.num_relations, tails], 1)

    def _pack(self, triples: Tensor, target: Target) -> Tensor:
        return triple_keys(triples, self.num_entities, self.num_relations, target)

    def _checked(self, triples: Tensor, target: Target | None = None) -> Tensor:
        """The triples as int64. PmdError for a position out of range, whose key would be that of another query."""
        if triples.ndim != 2 or triples.shape[1] != 3:
            raise PmdError(f"triples have shape {tuple(triples.shape)}; they need (n, 3): head, relation, tail")
        triples = triples.to(torch.int64)
        limits = (self.num_entities, self.num_relations, self.num_entities)
        for column, (part, limit) in enumerate(zip(("head", "relation", "tail"), limits)):
            values = triples[:, column]
            if part != target and len(values) and (values.min() < 0 or values.max() >= limit):
                row = int(((values < 0) | (values >= limit)).nonzero()[0])
                raise PmdError(f"triple {row}: {part} {int(values[row])} is outside 0 to {limit - 1}")
        return triples
