"""Questions about whole triples: does (h, r, t) hold, and which relations join two entities, in either direction?

What validation chose for them (`pmd.trust.verdicts`) is learned when an index is built, and kept in index.json under `judge`; where that
was done by an earlier version, at the first question.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError, names_options
from pmd.trust.relations import relation_sides
from pmd.trust.sides import measured, sides_of
from pmd.trust.verdicts import Judge, learn
from pmd.use.names import find_all

if TYPE_CHECKING:
    from pmd.use.index import Index

TRIPLES_PER_BLOCK = 1024
"""Triples that are judged together, so that each of their distinct queries is scored once."""
UNLEARNED = "rank"
"""How relations are compared where nothing could be learned: ranks need no scale."""

Pair = tuple[str, str]
"""The id and the name of an entity or a relation."""


@dataclass(frozen=True)
class Verdict:
    """A judged triple.

    Args:
        head, relation, tail: the id and the name of each.
        known: the splits that have it.
        score: the mean of its scores as an answer for the head and for the tail.
        probability: the mean of the probabilities as either, among all entities, if its questions lack one answer; None where
            validation has taught nothing of such questions.
        head_rank, tail_rank: its ranks as either, from 1, filtered and realistic.
        value, threshold: what was compared, in units of the measure that validation chose; None where there was no validation to
            learn from.
        holds: whether the value is not below the threshold; None likewise.
        confidence: how likely it is true, of true triples and false ones that look like them in equal number: at least ½ if it
            holds; None likewise.
    """

    head: Pair
    relation: Pair
    tail: Pair
    known: tuple[str, ...]
    score: float
    probability: float | None
    head_rank: float
    tail_rank: float
    value: float | None
    threshold: float | None
    holds: bool | None
    confidence: float | None

    def to_dict(self) -> dict[str, Any]:
        """The verdict for JSON."""
        return {**asdict(self), **_named(head=self.head, relation=self.relation, tail=self.tail)}


@dataclass(frozen=True)
class RelationAnswer:
    """A relation that may join two entities.

    Args:
        rank: from 1.
        id: of the relation.
        name: of the relation.
        inverse: whether the tail has it to the head.
        score: the mean of the triple's scores as an answer for the head and for the tail.
        probability: the mean of its probabilities as either, in [0, 1]; None where the index has learned none.
        value: by which relations are ordered, in units of the measure that validation chose.
        known: the splits that have the triple.
    """

    rank: int
    id: str
    name: str
    inverse: bool
    score: float
    probability: float | None
    value: float
    known: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Relations(Sequence):
    """The relations between two entities: a sequence of `RelationAnswer`, best first.

    Args:
        head, tail: the id and the name of each.
        answers: the relations.
    """

    head: Pair
    tail: Pair
    answers: tuple[RelationAnswer, ...]

    def __getitem__(self, index):
        return self.answers[index]

    def __len__(self) -> int:
        return len(self.answers)

    def __repr__(self) -> str:
        """A line for each relation: rank, value, the triple by names, and the splits that have it."""
        lines = [f"Relations({self.head[1]}, {self.tail[1]})"]
        for answer in self.answers:
            head, tail = self.ends(answer)
            known = f"  known: {', '.join(answer.known)}" if answer.known else ""
            lines.append(f"{answer.rank:>4}  {answer.value:8.4g}  {head[1]}, {answer.name}, {tail[1]}{known}")
        return "\n".join(lines)

    def ends(self, answer: RelationAnswer) -> tuple[Pair, Pair]:
        """Head and tail of an answer's triple."""
        return (self.tail, self.head) if answer.inverse else (self.head, self.tail)

    def to_dict(self) -> dict[str, Any]:
        """The relations for JSON."""
        answers = [{**asdict(answer), "known": list(answer.known)} for answer in self.answers]
        return {**_named(head=self.head, tail=self.tail), "relations": answers}


class JudgesTriples:
    """What a model that answers questions makes of whole triples."""

    index: Index

    @property
    def is_whole(self) -> bool:
        """Whether the model answers by all of its dimensions, as the one that its index was made for."""
        return True

    @cached_property
    def judge(self) -> Judge | None:
        """What validation chose, learned now if the index does not have it; None without validation triples."""
        if self.is_whole and "judge" in self.index.metadata:
            stored = self.index.metadata["judge"]
            with contextlib.suppress(TypeError):
                return None if stored is None else Judge.read(stored)
        print("learning on validation how triples are judged, once for this model and graph", file=sys.stderr)
        judge = learn(self)
        if self.is_whole:
            self.index.update(judge=judge and judge.stored)
        return judge

    @names_options
    def classify(self, *, head: str, relation: str, tail: str) -> Verdict:
        """Whether the triple (head, relation, tail), given by ids or names, holds. PmdError for a name that nothing has or that several
        have."""
        return next(self.classify_all([self.triple(head=head, relation=relation, tail=tail)]))

    def triple(self, *, head: str, relation: str, tail: str) -> tuple[int, int, int]:
        """The positions of the head, relation and tail of a triple, given by ids or names. PmdError for a name that nothing has or that
        several have."""
        entities, relations = self.index.entities, self.index.relations
        wanted = (entities, head, "head"), (relations, relation, "relation"), (entities, tail, "tail")
        head_at, relation_at, tail_at = find_all(*wanted)
        return head_at, relation_at, tail_at

    def classify_all(self, triples: Sequence[tuple[int, int, int]] | np.ndarray) -> Iterator[Verdict]:
        """A verdict for each of some triples (n, 3) of positions."""
        for start in range(0, len(triples), TRIPLES_PER_BLOCK):
            yield from self._judged(np.asarray(triples[start : start + TRIPLES_PER_BLOCK]))

    def _judged(self, triples: np.ndarray) -> Iterator[Verdict]:
        judge, index = self.judge, self.index
        betas = [] if judge is None else [judge.inverse_temperature]
        sides = sides_of(self, triples, betas, self.query_probabilities)
        nothing = [None] * len(triples)
        values = nothing if judge is None else judge.values(sides).tolist()
        thresholds = nothing if judge is None else judge.thresholds_of(triples[:, 1]).tolist()
        sure = nothing if judge is None else judge.confidences(judge.values(sides), triples[:, 1]).tolist()
        scores, ranks, bits = sides.scores.mean(1).tolist(), sides.ranks.tolist(), index.splits_of(triples).tolist()
        probabilities = sides.probabilities.mean(1).tolist()
        columns = (triples.tolist(), scores, probabilities, ranks, bits, values, thresholds, sure)
        for (head, relation, tail), score, probability, of_sides, split_bits, value, threshold, confidence in zip(
            *columns
        ):
            pairs = index.entities.pair(head), index.relations.pair(relation), index.entities.pair(tail)
            holds = None if value is None else value >= threshold
            known = index.split_names(split_bits)
            likely = None if math.isnan(probability) else probability
            yield Verdict(*pairs, known, score, likely, *of_sides, value, threshold, holds, confidence)

    @names_options
    def relations(self, *, head: str, tail: str, top_k: int = 10, new: bool = False) -> Relations:
        """The relations that join two entities, best first: those of the head to the tail, and of the tail to the head.

        Args:
            head, tail: by id or name.
            top_k: how many.
            new: leave out triples that are already in a split.

        Raises:
            PmdError: for a name that nothing has or that several have.
        """
        head_at, tail_at = find_all((self.index.entities, head, "head"), (self.index.entities, tail, "tail"))
        return next(self.relations_all([(head_at, tail_at)], top_k=top_k, new=new))

    def relations_all(
        self, pairs: Iterable[tuple[int, int]], *, top_k: int = 10, new: bool = False
    ) -> Iterator[Relations]:
        """The relations of each of some pairs of positions; `top_k` and `new` as for `relations`. PmdError for a `top_k` below 1."""
        if top_k < 1:
            raise PmdError(f"top_k: {top_k} relations are none; ask for at least 1")
        return (self._relations(pair, top_k, new) for pair in pairs)

    def _relations(self, pair: tuple[int, int], top_k: int, new: bool) -> Relations:
        index, number = self.index, self.index.num_relations
        directions = np.array([pair, pair[::-1]] if pair[0] != pair[1] else [pair])
        beta, measure = (
            (1.0, UNLEARNED) if self.judge is None else (self.judge.inverse_temperature, self.judge.relations)
        )
        triples, sides = relation_sides(self, directions, beta, self.query_probabilities)
        values, scores, bits = measured(sides, measure), sides.scores.mean(1), index.splits_of(triples)
        likely = [None if math.isnan(value) else value for value in sides.probabilities.mean(1).tolist()]
        best = np.argsort(-values, kind="stable")
        best = best[bits[best] == 0] if new else best
        answers = tuple(
            RelationAnswer(
                rank,
                *index.relations.pair(row % number),
                row >= number,
                float(scores[row]),
                likely[row],
                float(values[row]),
                index.split_names(int(bits[row])),
            )
            for rank, row in enumerate(best[:top_k].tolist(), 1)
        )
        return Relations(*map(index.entities.pair, pair), answers)


def _named(**pairs: Pair) -> dict[str, dict[str, str]]:
    """Ids and names for JSON."""
    return {part: {"id": pair[0], "name": pair[1]} for part, pair in pairs.items()}
