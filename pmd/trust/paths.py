"""Short paths between two entities through training facts, in both directions; those through few and specific entities first.

A path weighs the product of 1 / degree of the entities that it goes through: a hub that everything is joined to says little.

Example: Austria has the currency euro, and so has Germany, whose language is German: two facts, the second read backwards,
and a third, lead from Austria to German.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

EDGES = 200_000
"""Edges that are looked at for paths of three facts; those of the most specific entities come first."""
MIDDLES = 200
"""Middle facts of paths of three that are completed."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Facts as seen from one end (m,): from `source` to `other`; relations from `num_relations` on are read backwards."""

    source: np.ndarray
    relation: np.ndarray
    other: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Edges:
        return Edges(self.source[rows], self.relation[rows], self.other[rows])


@dataclass(frozen=True)
class Path:
    """The facts (head, relation, tail) from one entity to another, in that order, and what the path weighs."""

    facts: tuple[tuple[int, int, int], ...]
    weight: float


@dataclass(frozen=True, eq=False)
class Facts:
    """Training facts (n, 3), each at both of its entities."""

    triples: np.ndarray
    num_entities: int
    num_relations: int

    @cached_property
    def edges(self) -> Edges:
        """Both directions of all facts, sorted by source."""
        heads, relations, tails = self.triples.T
        sources = np.concatenate([heads, tails])
        order = np.argsort(sources, kind="stable")
        relations = np.concatenate([relations, relations + self.num_relations])
        return Edges(sources[order], relations[order], np.concatenate([tails, heads])[order])

    @cached_property
    def offsets(self) -> np.ndarray:
        """(num_entities + 1,) where the edges of each entity begin."""
        return np.searchsorted(self.edges.source, np.arange(self.num_entities + 1))

    @cached_property
    def degrees(self) -> np.ndarray:
        """(num_entities,) how many edges an entity has."""
        return np.diff(self.offsets)

    def around(self, entities: np.ndarray) -> Edges:
        """The edges of these entities (k,)."""
        counts = self.degrees[entities]
        shift = self.offsets[entities] - (counts.cumsum() - counts)
        return self.edges[np.arange(counts.sum()) + np.repeat(shift, counts)]

    def paths(self, start: int, end: int, without: tuple[int, int, int] | None = None, count: int = 3) -> list[Path]:
        """The best paths of at most three facts between two entities, which do not use the fact `without` or an entity twice."""
        if start == end:
            return []
        first, last = (self.around(np.array([entity])) for entity in (start, end))
        first, last = first[first.other != start], last[last.other != end]
        routes = [*self._of_one(first, end), *self._of_two(first, last, end), *self._of_three(first, last, start, end)]
        paths = [self._path(route) for route in routes]
        best = sorted((path for path in paths if without not in path.facts), key=lambda path: -path.weight)
        return best[:count]

    def _of_one(self, first: Edges, end: int) -> list[Edges]:
        return [first[[row]] for row in np.flatnonzero(first.other == end)]

    def _of_two(self, first: Edges, last: Edges, end: int) -> list[Edges]:
        rows = self._most_specific(np.flatnonzero(np.isin(first.other, last.other) & (first.other != end)), first.other)
        return [
            self._joined(first[[row]], last[[back]])
            for row in rows
            for back in np.flatnonzero(last.other == first.other[row])
        ]

    def _of_three(self, first: Edges, last: Edges, start: int, end: int) -> list[Edges]:
        through = np.setdiff1d(first.other, [end])
        through = through[np.argsort(self.degrees[through], kind="stable")]
        middle = self.around(through[np.cumsum(self.degrees[through]) <= EDGES])
        reached = np.isin(middle.other, np.setdiff1d(last.other, [start])) & (middle.other != middle.source)
        rows = self._most_specific(np.flatnonzero(reached), middle.source, middle.other)
        return [
            self._joined(first[[row]], middle[[between]], last[[back]])
            for between in rows
            for row in np.flatnonzero(first.other == middle.source[between])
            for back in np.flatnonzero(last.other == middle.other[between])
        ]

    def _most_specific(self, rows: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        """At most `MIDDLES` rows, those with the smallest product of the degrees of their entities."""
        hubs = np.prod([self.degrees[column[rows]].astype(np.float64) for column in columns], axis=0)
        return rows[np.argsort(hubs, kind="stable")][:MIDDLES]

    def _joined(self, *edges: Edges) -> Edges:
        """Edges in a row; the last one, which is seen from the end of the path, is turned round."""
        *firsts, last = edges
        turned = Edges(last.other, (last.relation + self.num_relations) % (2 * self.num_relations), last.source)
        parts = [*firsts, turned]
        return Edges(
            *(np.concatenate([getattr(edge, name) for edge in parts]) for name in ("source", "relation", "other"))
        )

    def _path(self, route: Edges) -> Path:
        """The facts of edges that follow each other."""
        backwards = route.relation >= self.num_relations
        heads, tails = np.where(backwards, [route.other, route.source], [route.source, route.other])
        facts = zip(heads.tolist(), (route.relation % self.num_relations).tolist(), tails.tolist())
        return Path(tuple(facts), float(1 / np.prod(self.degrees[route.other[:-1]].astype(np.float64))))
