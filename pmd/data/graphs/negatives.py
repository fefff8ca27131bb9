"""Batches of triples for embedding models: positives with sampled negatives, or with all entities.

A batch is a list of sides: triples whose tail is asked for, and triples whose head is. The negatives of a batch
are a function of its positions and a seed: a resumed run draws what it would have drawn, in whatever process
batches are prepared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pmd.core.types import TARGETS, Target
from pmd.data.graphs.answers import KnownAnswers


@dataclass(frozen=True, eq=False)
class Side:
    """Queries of one target, with what they are compared with.

    `triples` (m, 3). With sampled negatives: `negatives` (groups, k), of which consecutive triples share a
    row, and `false` (m, k), True where a negative is a known answer, or None. Against all entities with
    several true ones: `labels` (2, n), row and entity of every true answer.
    """

    target: Target
    triples: Tensor
    negatives: Tensor | None = None
    false: Tensor | None = None
    labels: Tensor | None = None

    @property
    def answers(self) -> Tensor:
        """(m,) the entities at `target`."""
        return self.triples[:, 2 if self.target == "tail" else 0]


@dataclass(frozen=True, eq=False)
class KgeBatch:
    """What one step of training reads. Where its sides have no negatives, queries meet `candidates` (c,), sorted
    entities, or all of them."""

    sides: list[Side]
    candidates: Tensor | None = None

    @property
    def answers(self) -> Tensor:
        """(b,) the column of each answer among the candidates."""
        return self.columns(torch.cat([side.answers for side in self.sides]))

    @property
    def labels(self) -> Tensor:
        """(2, n) row and column of the true answers of all sides, rows counted on from side to side."""
        before, parts = 0, []
        for side in self.sides:
            parts.append(torch.stack([side.labels[0] + before, self.columns(side.labels[1])]))
            before += len(side.triples)
        return torch.cat(parts, dim=1)

    @property
    def false(self) -> Tensor | None:
        """(b, k) which negatives are known answers, of all sides."""
        marks = [side.false for side in self.sides]
        return None if marks[0] is None else torch.cat(marks)

    def columns(self, entities: Tensor) -> Tensor:
        """Entities as places among the candidates."""
        return entities if self.candidates is None else torch.searchsorted(self.candidates, entities.contiguous())

    @property
    def triples(self) -> Tensor:
        """(b, 3) all triples of the batch."""
        return torch.cat([side.triples for side in self.sides])

    def to(self, device: torch.device | str) -> KgeBatch:
        candidates = None if self.candidates is None else self.candidates.to(device)
        return KgeBatch([_moved(side, device) for side in self.sides], candidates)


def _moved(side: Side, device: torch.device | str) -> Side:
    values: dict[str, Any] = {field.name: getattr(side, field.name) for field in fields(side)}
    return Side(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})


class SampledNegatives:
    """Positions -> a batch in which half of the triples get false heads and half false tails.

    Args:
        triples: training triples (n, 3).
        num_entities: negatives are drawn evenly from so many.
        negatives: k, for each triple.
        shared: so many consecutive triples share their k negatives.
        known: answers that are no negatives (`false` marks them); without it only the triple's own answer is.
        candidates: sorted entities (c,) to draw from in place of all, those of the triples among them.
        seed: other seeds draw other negatives.
    """

    def __init__(
        self,
        triples: Tensor,
        num_entities: int,
        negatives: int,
        shared: int = 1,
        known: KnownAnswers | None = None,
        candidates: Tensor | None = None,
        seed: int = 0,
    ):
        self.triples, self.num_entities, self.negatives = triples, num_entities, negatives
        self.shared, self.known, self.candidates, self.seed = shared, known, candidates, seed

    def __len__(self) -> int:
        return len(self.triples)

    def __call__(self, positions: list[int]) -> KgeBatch:
        batch = self.triples[positions]
        half = len(batch) // 2
        parts = zip(TARGETS, (batch[:half], batch[half:]))
        # The order of an epoch is a new one each time, and so are its hashes (those of integers never change).
        generator = torch.Generator().manual_seed(hash((self.seed, *positions)) % 2**63)
        return KgeBatch([self.side(part, target, generator) for target, part in parts if len(part)])

    def side(self, triples: Tensor, target: Target, generator: torch.Generator | None = None) -> Side:
        """Triples (m, 3) with negatives in the place of `target`."""
        groups = -(-len(triples) // self.shared)
        answers = triples[:, 2 if target == "tail" else 0, None]  # (m, 1)
        if self.shared == 1:
            drawn = self._draw(groups, generator, answers)
            false = None if self.known is None else self._known(triples, target, drawn)
        else:
            drawn = self._draw(groups, generator)
            size = -(-len(triples) // groups)
            each = drawn.repeat_interleave(size, 0)[: len(triples)]
            false = each == answers if self.known is None else self._known(triples, target, each)
        return Side(target, triples, drawn, false)

    def _draw(self, groups: int, generator: torch.Generator | None, but: Tensor | None = None) -> Tensor:
        """(groups, k) entities, even over the candidates; `but` (groups, 1) is never drawn in its row."""
        pool = self.candidates
        size = self.num_entities if pool is None else len(pool)
        places = torch.randint(size - (but is not None), (groups, self.negatives), generator=generator)
        if but is not None:
            places += places >= (but if pool is None else torch.searchsorted(pool, but.contiguous()))
        return places if pool is None else pool[places]

    def _known(self, triples: Tensor, target: Target, entities: Tensor) -> Tensor:
        corrupted = triples[:, None].repeat(1, entities.shape[1], 1)  # (m, k, 3)
        corrupted[..., 2 if target == "tail" else 0] = entities
        return self.known.contains(corrupted.flatten(0, 1)).unflatten(0, entities.shape)


class OneVsAll:
    """Positions -> both queries of each triple, to be compared with every entity, or with `candidates` (c,), sorted."""

    def __init__(self, triples: Tensor, candidates: Tensor | None = None):
        self.triples, self.candidates = triples, candidates

    def __len__(self) -> int:
        return len(self.triples)

    def __call__(self, positions: list[int]) -> KgeBatch:
        batch = self.triples[positions]
        return KgeBatch([Side(target, batch) for target in TARGETS], self.candidates)


class KvsAll:
    """Positions -> distinct queries with all their true answers (Dettmers et al., AAAI 2018).

    An example is a distinct query of the training triples (n, 3), in either direction; `candidates` as for `OneVsAll`.
    """

    def __init__(self, triples: Tensor, num_entities: int, num_relations: int, candidates: Tensor | None = None):
        self.candidates = candidates
        self.known = KnownAnswers(triples, num_entities, num_relations)
        self.queries = {"head": _distinct(triples, [1, 2]), "tail": _distinct(triples, [0, 1])}

    def __len__(self) -> int:
        return sum(len(queries) for queries in self.queries.values())

    def __call__(self, positions: list[int]) -> KgeBatch:
        places, heads = torch.tensor(positions), len(self.queries["head"])
        chosen = {"head": places[places < heads], "tail": places[places >= heads] - heads}
        sides = []
        for target in TARGETS:
            queries = self.queries[target][chosen[target]]
            if len(queries):
                sides.append(Side(target, queries, labels=torch.stack(self.known.lookup(queries, target))))
        return KgeBatch(sides, self.candidates)


def _distinct(triples: Tensor, columns: list[int]) -> Tensor:
    """One triple for each distinct pair in two columns, its other entry 0."""
    found = torch.unique(triples[:, columns], dim=0)
    distinct = torch.zeros(len(found), 3, dtype=torch.long)
    distinct[:, columns] = found
    return distinct
