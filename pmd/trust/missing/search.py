"""The most plausible triples that a graph lacks, relations and both ends open, without the scores of all pairs at once.

A triple is an answer to two queries, (h, r, ?) and (?, r, t), and both count (`pmd.trust.missing.likely`). It is a candidate if it has a
probability of at least `Limits.at_least` as either. For every relation the queries of one end are asked first, in blocks, and
their likely answers kept, at most `MOST_ANSWERS` of each; then those of the other end that these answers need. What is kept of a relation
is bounded (`Limits.kept`), so memory holds a block of scores, the candidates of one relation, and the best of all.

A search can be stopped after any block: `State` has all that is needed to go on.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from pmd.core.errors import PmdError
from pmd.trust.held_out import VISIBLE
from pmd.trust.missing.likely import Rates
from pmd.trust.missing.limits import Limits
from pmd.trust.sides import COLUMNS, Asked, scored_queries

QUERIES_PER_BLOCK = 64
"""Queries that are scored together, after which a search can be stopped."""
MOST_ANSWERS = 100
"""Likely answers of a query that are kept to be seen from the other end."""


@dataclass(frozen=True, eq=False)
class Part:
    """Triples of a relation that are searched: `target` is asked for first, of each of the entities `asked` (k,); answers are among the
    entities `allowed` (bool (num_entities,))."""

    relation: int
    target: str
    asked: np.ndarray
    allowed: np.ndarray

    def __len__(self) -> int:
        """How many queries it may take, from both ends."""
        return len(self.asked) + int(self.allowed.sum())


def _no_triples() -> np.ndarray:
    return np.empty((0, 3), dtype=np.int64)


def _no_sides() -> np.ndarray:
    return np.empty((0, 2))


@dataclass(eq=False)
class State:
    """How far a search is: the part, whether its second end is asked, and the query; the candidates (m, 3) of this part with their
    `sides` (m, 2), the probabilities as an answer for the head and for the tail; and those that are kept of parts that are done."""

    part: int = 0
    second: bool = False
    query: int = 0
    triples: np.ndarray = field(default_factory=_no_triples)
    sides: np.ndarray = field(default_factory=_no_sides)
    kept: np.ndarray = field(default_factory=_no_triples)
    kept_sides: np.ndarray = field(default_factory=_no_sides)

    def to_bytes(self, settings: str) -> bytes:
        """What `from_bytes` reads; `settings` describe the search."""
        file = io.BytesIO()
        np.savez(file, settings=np.array(settings), **vars(self))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> tuple[str, State]:
        """The settings of a search, and how far it was. ValueError, KeyError, OSError or EOFError if the content is no state."""
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("settings", *(each.name for each in fields(cls)))}
        values = {name: array if array.ndim else array.item() for name, array in arrays.items()}
        return values.pop("settings"), cls(**values)


class Search:
    """A search in parts of a graph.

    Args:
        model: gives scores and probabilities.
        parts: what is searched.
        limits: how much is kept.
        known: the splits whose triples are known, and so are no suggestions.
    """

    def __init__(self, model: Asked, parts: Sequence[Part], limits: Limits, known: Sequence[str]):
        self.rates = Rates.of(model.index)
        self.model, self.parts, self.limits, self.known = model, parts, limits, known
        splits = model.index.metadata["splits"]
        self.known_bits = sum(1 << bit for bit, name in enumerate(splits) if name in known)
        visible = model.index.triples(*VISIBLE)
        self.with_loops = {*visible[visible[:, 0] == visible[:, 2], 1].tolist()}

    def __len__(self) -> int:
        """Queries that the search may take at most."""
        return sum(map(len, self.parts))

    def run(self, state: State) -> Iterator[int]:
        """Go on from a state, which is changed; yields after every block how many of the queries are done or found needless."""
        done = sum(map(len, self.parts[: state.part]))
        while state.part < len(self.parts):
            part = self.parts[state.part]
            if state.second:
                ends = np.unique(state.triples[:, COLUMNS[part.target][1]])
                self._ask_second(part, ends, state)
                if state.query >= len(ends):
                    self._close(part, state)
                    done += len(part)
            else:
                self._ask_first(part, state)
                if state.query >= len(part.asked):
                    order = np.argsort(state.triples[:, COLUMNS[part.target][1]], kind="stable")
                    state.triples, state.sides = state.triples[order], state.sides[order]
                    state.second, state.query = True, 0
            yield done + state.query + state.second * len(part.asked)

    def _ask_first(self, part: Part, state: State) -> None:
        """The likely answers of a block of queries become candidates."""
        known_column, answer_column = COLUMNS[part.target]
        triples, sides = [state.triples], [state.sides]
        block = part.asked[state.query : state.query + QUERIES_PER_BLOCK]
        for entity, probabilities in self._probabilities(part.target, part.relation, block):
            answers = np.flatnonzero(part.allowed & (probabilities >= self.limits.at_least))
            best = np.sort(answers[np.argsort(-probabilities[answers], kind="stable")[:MOST_ANSWERS]])
            triples.append(np.full((len(best), 3), part.relation))
            triples[-1][:, known_column], triples[-1][:, answer_column] = entity, best
            sides.append(np.zeros((len(best), 2)))
            sides[-1][:, answer_column // 2] = probabilities[best]
        state.triples, state.sides = np.concatenate(triples), np.concatenate(sides)
        state.query += QUERIES_PER_BLOCK

    def _ask_second(self, part: Part, ends: np.ndarray, state: State) -> None:
        """A block of the queries of the other end, which the candidates, sorted by it, answer too."""
        known_column, answer_column = COLUMNS[part.target]
        other = "head" if part.target == "tail" else "tail"
        block = ends[state.query : state.query + QUERIES_PER_BLOCK]
        for entity, probabilities in self._probabilities(other, part.relation, block):
            rows = slice(*np.searchsorted(state.triples[:, answer_column], [entity, entity + 1]))
            state.sides[rows, known_column // 2] = probabilities[state.triples[rows, known_column]]
        state.query += QUERIES_PER_BLOCK

    def _close(self, part: Part, state: State) -> None:
        """Keep the best of a part that is done, and of what its relation had before."""
        likely, same = (state.sides >= self.limits.at_least).all(1), state.kept[:, 1] == part.relation
        triples, first = np.unique(np.concatenate([state.kept[same], state.triples[likely]]), axis=0, return_index=True)
        sides = np.concatenate([state.kept_sides[same], state.sides[likely]])[first]
        best = np.argsort(-self.rates.probabilities(triples, sides), kind="stable")[: self.limits.kept]
        state.kept = np.concatenate([state.kept[~same], triples[best]])
        state.kept_sides = np.concatenate([state.kept_sides[~same], sides[best]])
        state.triples, state.sides = _no_triples(), _no_sides()
        state.part, state.second, state.query = state.part + 1, False, 0

    def _probabilities(self, target: str, relation: int, entities: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Each entity with the probabilities (num_entities,) of all as answers to its query, 0 for known ones and loops. PmdError if
        nothing was learned of such queries."""
        known_column, _ = COLUMNS[target]
        queries = np.full((len(entities), 3), relation)
        queries[:, known_column] = entities
        for rows, scores in scored_queries(self.model, queries, target):
            entity = int(entities[rows[0]])
            known, splits = self.model.index.known_answers(target, entity, relation)
            known = known[(splits & self.known_bits) > 0]
            probabilities = self.model.query_probabilities(target, entity, relation, scores, known, first_answers=False)
            if probabilities is None:
                raise PmdError("suggest: nothing was learned of how probable answers are")
            probabilities[known] = 0
            if relation not in self.with_loops:
                probabilities[entity] = 0
            yield entity, probabilities
