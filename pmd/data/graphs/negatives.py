"""Batches of triples for embedding models: with sampled negatives, or against all entities.

A batch is a list of sides: triples whose head is asked for, and triples whose tail is. The negatives of a batch are a
function of its positions and a seed: a resumed run draws what it would have drawn, whatever process prepares the batches. Of
several processes each draws the negatives of the whole batch, and keeps those of its own rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from pmd.core.distributed import share_of
from pmd.core.types import ANSWER_COLUMN, TARGETS, Target, moved
from pmd.data.graphs.answers import KnownAnswers, triple_keys


@dataclass(frozen=True, eq=False)
class Side:
    """The queries of triples (m, 3) for one target, and what they are compared with.

    With sampled negatives: `negatives` (groups, k) entities, a row for ⌈m / groups⌉ consecutive triples, and `false` (m, k),
    true where a negative is a known answer, or None. Against all entities with several true ones: `labels` (2, n), row and
    entity of every true answer. `confidences` are those of the triples (m,), or of the triples that the labels make (n,); None
    for even ones.
    """

    target: Target
    triples: Tensor
    negatives: Tensor | None = None
    false: Tensor | None = None
    labels: Tensor | None = None
    confidences: Tensor | None = None

    @property
    def answers(self) -> Tensor:
        """(m,) the entities at `target`."""
        return self.triples[:, ANSWER_COLUMN[self.target]]

    def to(self, device: torch.device | str) -> Side:
        return moved(self, device)


@dataclass(frozen=True, eq=False)
class KgeBatch:
    """What one training step reads.

    Where sides have no negatives, queries are compared with `candidates` (c,), sorted entities, or with all. `weight` is what a
    mean over the rows counts for among those of all processes, whose mean is then that over the rows of all.
    """

    sides: list[Side]
    candidates: Tensor | None = None
    weight: float = 1.0

    @property
    def answers(self) -> Tensor:
        """(b,) the column of each answer among the candidates."""
        return self.columns(torch.cat([side.answers for side in self.sides]))

    @property
    def labels(self) -> Tensor:
        """(2, n) row and column of the true answers of all sides; the rows of a side follow those of the one before."""
        first_row, parts = 0, []
        for side in self.sides:
            parts.append(torch.stack([side.labels[0] + first_row, self.columns(side.labels[1])]))
            first_row += len(side.triples)
        return torch.cat(parts, dim=1)

    @property
    def false(self) -> Tensor | None:
        """(b, k) which negatives of all sides are known answers."""
        marks = [side.false for side in self.sides]
        return None if marks[0] is None else torch.cat(marks)

    @property
    def confidences(self) -> Tensor | None:
        """(b,) of the triples of all sides, or (n,) of all labels; None for even ones."""
        parts = [side.confidences for side in self.sides]
        return None if parts[0] is None else torch.cat(parts)

    def columns(self, entities: Tensor) -> Tensor:
        """The positions of entities among the candidates."""
        return entities if self.candidates is None else torch.searchsorted(self.candidates, entities.contiguous())

    @property
    def triples(self) -> Tensor:
        """(b, 3) all triples of the batch."""
        return torch.cat([side.triples for side in self.sides])

    def to(self, device: torch.device | str) -> KgeBatch:
        return moved(self, device)


@dataclass(frozen=True, eq=False)
class SampledNegatives:
    """Positions -> a batch in which half of the triples get negative heads and the other half negative tails.

    Args:
        triples: training triples (n, 3).
        num_entities: of the graph; negatives are drawn evenly.
        negatives: k, for each triple.
        shared: how many consecutive triples have the same k negatives.
        known: `false` marks these answers among the negatives; without it only the triple's own answer is left out.
        candidates: sorted entities (c,) to draw from instead of all, with those of the triples among them.
        seed: of the drawing.
        confidences: (n,) of the triples.
    """

    triples: Tensor
    num_entities: int
    negatives: int
    shared: int = 1
    known: KnownAnswers | None = None
    candidates: Tensor | None = None
    seed: int = 0
    confidences: Tensor | None = None

    def __len__(self) -> int:
        return len(self.triples)

    def __call__(self, positions: list[int]) -> KgeBatch:
        return self.share(positions, 0, 1)

    def share(self, positions: list[int], process: int, processes: int) -> KgeBatch:
        """The rows of one of several processes of the batch of these positions."""
        half = len(positions) // 2
        # Every epoch has another order, and so other hashes. Python's hash of integers is the same in every process.
        generator = torch.Generator().manual_seed(hash((self.seed, *positions)) % 2**63)
        own, heads = share_of(len(positions), process, processes), share_of(half, process, processes)
        tails = slice(own.start - heads.start, own.stop - heads.stop)
        sides = []
        for target, part, rows in zip(TARGETS, (positions[:half], positions[half:]), (heads, tails)):
            if len(part):
                sides += self._sides(part, target, generator, rows)
        return KgeBatch(sides, weight=(own.stop - own.start) * processes / len(positions))

    def _sides(self, positions: list[int], target: Target, generator: torch.Generator, rows: slice) -> list[Side]:
        """Some rows of the side of these positions, in as many sides as the negatives that they share make of them."""
        triples = self.triples[positions]
        drawn, size = self._drawn(triples, target, generator)
        sides = []
        for start, end in pairwise(_cuts(rows, size)):
            side = self._marked(triples[start:end], target, drawn[start // size : -(-end // size)])
            sides.append(replace(side, confidences=_chosen(self.confidences, positions[start:end])))
        return sides

    def side(self, triples: Tensor, target: Target, generator: torch.Generator | None = None) -> Side:
        """Triples (m, 3) with negatives for `target`."""
        return self._marked(triples, target, self._drawn(triples, target, generator)[0])

    def _drawn(self, triples: Tensor, target: Target, generator: torch.Generator | None) -> tuple[Tensor, int]:
        """Negatives (groups, k) of triples (m, 3), and how many triples have the same."""
        groups = -(-len(triples) // self.shared)
        answers = triples[:, ANSWER_COLUMN[target], None]  # (m, 1)
        drawn = self._draw(groups, generator, answers if self.shared == 1 else None)
        return drawn, -(-len(triples) // groups)

    def _marked(self, triples: Tensor, target: Target, drawn: Tensor) -> Side:
        """The side of triples (m, 3) with negatives (groups, k), the false ones marked."""
        answers = triples[:, ANSWER_COLUMN[target], None]  # (m, 1)
        each = drawn
        if self.shared > 1:
            each = drawn.repeat_interleave(-(-len(triples) // len(drawn)), 0)[: len(triples)]
        false = None
        if self.known is not None:
            false = self._is_known(triples, target, each)
        elif self.shared > 1:
            false = each == answers
        return Side(target, triples, drawn, false)

    def _draw(self, groups: int, generator: torch.Generator | None, without: Tensor | None = None) -> Tensor:
        """(groups, k) entities, drawn evenly from the candidates; `without` (groups, 1) is never drawn in its row."""
        pool = self.candidates
        size = self.num_entities if pool is None else len(pool)
        positions = torch.randint(size - (without is not None), (groups, self.negatives), generator=generator)
        if without is not None:  # of size − 1 positions, those from the left out one on are moved up by one
            positions += positions >= (without if pool is None else torch.searchsorted(pool, without.contiguous()))
        return positions if pool is None else pool[positions]

    def _is_known(self, triples: Tensor, target: Target, entities: Tensor) -> Tensor:
        """(m, k) whether entities (m, k) are known answers to the queries of triples (m, 3)."""
        corrupted = triples[:, None].repeat(1, entities.shape[1], 1)  # (m, k, 3)
        corrupted[..., ANSWER_COLUMN[target]] = entities
        return self.known.contains(corrupted.flatten(0, 1)).unflatten(0, entities.shape)


@dataclass(frozen=True, eq=False)
class OneVsAll:
    """Positions -> both queries of each triple, against every entity or against `candidates` (c,), sorted.

    `confidences` (n,) are those of the triples.
    """

    triples: Tensor
    candidates: Tensor | None = None
    confidences: Tensor | None = None

    def __len__(self) -> int:
        return len(self.triples)

    def __call__(self, positions: list[int]) -> KgeBatch:
        batch, confidences = self.triples[positions], _chosen(self.confidences, positions)
        return KgeBatch([Side(target, batch, confidences=confidences) for target in TARGETS], self.candidates)

    def share(self, positions: list[int], process: int, processes: int) -> KgeBatch:
        """The rows of one of several processes of the batch of these positions."""
        return _share_of_positions(self, positions, process, processes)


class KvsAll:
    """Positions -> distinct queries with all their true answers (Dettmers et al., AAAI 2018).

    An example is a distinct query of the training triples (n, 3), for the head or for the tail; `candidates` as for `OneVsAll`.
    A triple that is there several times has the largest of its `confidences` (n,).
    """

    def __init__(
        self,
        triples: Tensor,
        num_entities: int,
        num_relations: int,
        candidates: Tensor | None = None,
        confidences: Tensor | None = None,
    ):
        self.candidates, self.sizes, self.confidences = candidates, (num_entities, num_relations), confidences
        if confidences is not None:
            self.keys, each = torch.unique(triple_keys(triples, *self.sizes), return_inverse=True)
            self.confidences = confidences.new_zeros(len(self.keys)).scatter_reduce(0, each, confidences, "amax")
        self.known = KnownAnswers(triples, num_entities, num_relations)
        self.queries = {"head": _distinct(triples, [1, 2]), "tail": _distinct(triples, [0, 1])}

    def __len__(self) -> int:
        return sum(len(queries) for queries in self.queries.values())

    def __call__(self, positions: list[int]) -> KgeBatch:
        chosen, heads = torch.tensor(positions), len(self.queries["head"])
        rows = {"head": chosen[chosen < heads], "tail": chosen[chosen >= heads] - heads}
        sides = []
        for target in TARGETS:
            queries = self.queries[target][rows[target]]
            if len(queries):
                labels = torch.stack(self.known.lookup(queries, target))
                sides.append(Side(target, queries, labels=labels, confidences=self._of_labels(queries, target, labels)))
        return KgeBatch(sides, self.candidates)

    def share(self, positions: list[int], process: int, processes: int) -> KgeBatch:
        """The rows of one of several processes of the batch of these positions."""
        return _share_of_positions(self, positions, process, processes)

    def _of_labels(self, queries: Tensor, target: Target, labels: Tensor) -> Tensor | None:
        """(n,) the confidences of the triples that labels (2, n) make of their queries."""
        if self.confidences is None:
            return None
        triples = queries[labels[0]]
        triples[:, ANSWER_COLUMN[target]] = labels[1]
        return self.confidences[torch.searchsorted(self.keys, triple_keys(triples, *self.sizes))]


def _share_of_positions(
    collate: Callable[[list[int]], KgeBatch], positions: list[int], process: int, processes: int
) -> KgeBatch:
    """The batch of one process's share of the positions."""
    own = positions[share_of(len(positions), process, processes)]
    return replace(collate(own), weight=len(own) * processes / len(positions))


def _cuts(rows: slice, size: int) -> list[int]:
    """Where rows are cut so that each part consists of whole groups of `size`, its last one shorter at most as `Side` has it,
    or lies within one group.

    Example: with groups of 4 the rows 2 to 11 are cut into 2–3, 4–11, the rows 4 to 12 into 4–11 and 12.
    """
    first, last = min(-(-rows.start // size) * size, rows.stop), max(rows.stop // size * size, rows.start)
    groups = -(-(rows.stop - first) // size)
    whole = groups > 0 and -(-(rows.stop - first) // groups) == size
    cuts = [rows.start, first, rows.stop if whole else last, rows.stop]
    return sorted({*cuts})


def _chosen(confidences: Tensor | None, positions: list[int]) -> Tensor | None:
    return None if confidences is None else confidences[positions]


def _distinct(triples: Tensor, columns: list[int]) -> Tensor:
    """A triple for each distinct pair in two columns, with 0 as its third entry."""
    first, second = triples[:, columns].long().T
    size = int(second.max()) + 1 if len(second) else 1
    keys = torch.unique(first * size + second)  # in the order of the pairs, which `unique` would compare one by one
    distinct = torch.zeros(len(keys), 3, dtype=torch.long)
    distinct[:, columns] = torch.stack([keys // size, keys % size], 1)
    return distinct
