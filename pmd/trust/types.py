"""Which entities fit a question's open end, by their declared types and by where they stand in the graph: with NumPy alone.

A question is a relation r, or r + num_relations where its head is asked for. Its open end is a place: the tail of r, the head of r.
The features of an entity are the places where it stands in the graph and its declared types. Each question gives each feature a
log-odds: how much more often the entities at its place have it than others (`pmd.trust.type_learning`). The fit of an entity is
the sum of those of its features, divided by their number to the power of `damping`; 0 for an entity without features, so that
one that nothing is known of is neither favoured nor held back.

    score + factor · (standard deviation of the question's scores) · fit

`damping` and `factor` are those with the highest MRR on the validation split; the factor is 0 if none helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal

import numpy as np

from pmd.data.texts.ragged import Ragged, row_blocks

FITS_KEPT = 2**24
"""Numbers that are kept of the fits of the last questions: 64 MB, or one question's fits of a larger graph."""

Mode = Literal["off", "soft", "strict"]
"""`soft` adds to the scores of what fits; `strict` also leaves out what does not fit."""


@dataclass(frozen=True, eq=False)
class Types:
    """What fits the questions of a graph.

    Args:
        weights: (questions, features) log-odds; the first `questions` features are the places.
        features: those of each entity (num_entities rows).
        lowest: (questions,) the fit that `strict` asks for where no types are declared: nearly all training answers have it.
        allowed: (questions, types) which declared types stand at each place in training; None where none are declared.
        facts: `damping`, `factor`, and how they were chosen.
    """

    weights: np.ndarray
    features: Ragged
    lowest: np.ndarray
    allowed: np.ndarray | None
    facts: Mapping[str, Any]

    @classmethod
    def stored(cls, column: Callable[[str], np.ndarray], facts: Mapping[str, Any]) -> Types:
        """Those of an index, by its columns and settings."""
        features = Ragged(column("types_features"), column("types_features_offsets"))
        allowed = column("types_allowed").astype(bool) if facts["declared"] else None
        return cls(column("types_weights"), features, column("types_lowest"), allowed, facts)

    def columns(self) -> dict[str, np.ndarray]:
        """What `stored` reads."""
        columns = {"types_features": self.features.flat, "types_features_offsets": self.features.offsets}
        columns |= {"types_weights": self.weights, "types_lowest": self.lowest}
        return columns if self.allowed is None else columns | {"types_allowed": self.allowed.astype(np.uint8)}

    def adjusted(self, scores: np.ndarray, questions: np.ndarray, mode: Mode = "soft") -> np.ndarray:
        """The scores (b, num_entities) of questions (b,) after types; those left out are −∞."""
        if mode == "off" or (mode == "soft" and not self.facts["factor"]):
            return scores
        adjusted = np.array(scores, dtype=np.float32)
        if factor := self.facts["factor"]:
            for row, shifts in self.shifts(scores, questions):
                adjusted[row] += factor * shifts
        if mode == "strict":
            for question in np.unique(questions):
                adjusted[np.ix_(questions == question, ~self.fitting(question))] = -np.inf
        return adjusted

    def shifts(self, scores: np.ndarray, questions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """For each row of scores (b, num_entities), its number and what a factor of 1 adds to it: the fits, in units of the
        spread of the question's scores, without those of −∞ that a search by a short list gives."""
        for question in np.unique(questions):
            fit = self.fit(question)
            for row in np.flatnonzero(questions == question):
                listed = scores[row] > -np.inf
                yield row, fit * np.std(scores[row] if listed.all() else scores[row][listed])

    def fits(self, questions: np.ndarray) -> np.ndarray:
        """The fits (b, num_entities) of all entities."""
        distinct, rows = np.unique(questions, return_inverse=True)
        return np.stack([self.fit(question) for question in distinct])[rows]

    def of(self, entities: np.ndarray) -> Types:
        """The same of some entities (m,) alone."""
        return replace(self, features=self.features.take(entities))

    def fit(self, question: int) -> np.ndarray:
        """The fits (n,) of all entities, read-only; those of the last questions are kept."""
        return self._kept_fit(int(question))

    @cached_property
    def _kept_fit(self) -> Callable[[int], np.ndarray]:
        # Of what it needs, not of `self`: a cache that held its owner would outlive it until garbage is collected.
        fits = partial(_fits, self.weights, self.features, self._rows)
        return lru_cache(maxsize=max(1, FITS_KEPT // max(1, len(self.features))))(fits)

    def fitting(self, question: int) -> np.ndarray:
        """Which entities (bool (num_entities,)) `strict` lets answer: those of a type that stands there in training or, without
        declared types, those that fit as well as nearly all that stand there. An entity of which nothing is known may."""
        places = self.weights.shape[0]
        if self.allowed is None:
            return (self.features.lengths == 0) | (self.fit(question) >= self.lowest[question])
        is_type = self.features.flat >= places
        owners = np.repeat(np.arange(len(self.features)), self.features.lengths)[is_type]
        types = self.features.flat[is_type] - places
        fits = np.ones(len(self.features), dtype=bool)
        fits[owners] = False
        fits[owners[self.allowed[question, types]]] = True
        return fits

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entities with features, where those of each begin, and what the sum of their log-odds is divided by."""
        lengths = self.features.lengths
        some = lengths > 0
        return some, self.features.offsets[:-1][some], lengths[some].astype(np.float32) ** self.facts["damping"]


def _fits(
    weights: np.ndarray, features: Ragged, rows: tuple[np.ndarray, np.ndarray, np.ndarray], question: int
) -> np.ndarray:
    """The fits (n,) of all entities to a question, from `Types._rows`."""
    fit, flat = np.zeros(len(features), dtype=np.float32), features.flat
    if len(flat):
        some, starts, divisors = rows
        sums, ends = np.empty_like(divisors), np.append(starts, len(flat))
        for part in row_blocks(len(starts)):  # twice as fast as all together, which leaves the processor's cache
            own = flat[starts[part.start] : ends[part.stop]]
            sums[part] = np.add.reduceat(weights[question][own], starts[part] - starts[part.start])
        fit[some] = sums / divisors
    fit.setflags(write=False)
    return fit
