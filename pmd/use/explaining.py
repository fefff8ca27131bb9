"""Why a triple is an answer: training facts that are like it, paths between its ends, and the parts of a fused model's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import names_options
from pmd.trust.held_out import VISIBLE
from pmd.trust.near_facts import near_facts
from pmd.trust.paths import Facts
from pmd.use.names import find_all

if TYPE_CHECKING:
    from pmd.use.answer_records import Answers
    from pmd.use.index import Index
    from pmd.use.judging import RelationAnswer, Relations

Pair = tuple[str, str]
Fact = tuple[Pair, Pair, Pair]
"""Head, relation and tail, each an id and a name."""


@dataclass(frozen=True)
class LikeFact:
    """A training fact of the same relation.

    Args:
        fact: head, relation and tail, each an id and a name.
        head_cosine, tail_cosine: of its ends with those of the triple, in [−1, 1]; None for an end that a text describes.
    """

    fact: Fact
    head_cosine: float | None
    tail_cosine: float | None


@dataclass(frozen=True)
class FactPath:
    """Training facts that lead from the known entity to the answer.

    Args:
        start: the id and the name of the known entity.
        facts: in the order of the path, each a head, relation and tail with id and name.
        weight: above 0; more specific paths weigh more.
    """

    start: Pair
    facts: tuple[Fact, ...]
    weight: float


@dataclass(frozen=True)
class Why:
    """What speaks for a triple.

    Args:
        facts: the nearest training facts of the same relation.
        paths: short paths of training facts between its ends.
        parts: of a fused model, how much `text`, `structure` and (soft) `types` add to the score, beyond what they add to that of
            the mean candidate; None for others.
    """

    facts: tuple[LikeFact, ...]
    paths: tuple[FactPath, ...]
    parts: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The reasons for JSON."""
        facts = [
            {**_named(like.fact), "head_cosine": like.head_cosine, "tail_cosine": like.tail_cosine}
            for like in self.facts
        ]
        paths = [{"facts": [*map(_named, path.facts)], "weight": path.weight} for path in self.paths]
        return {"facts": facts, "paths": paths, "parts": self.parts}

    def __str__(self) -> str:
        """A line for each reason."""
        return "\n".join([*map(_like_line, self.facts), *map(_path_line, self.paths), *_parts_line(self.parts)])


class Explains:
    """What a model that answers questions says for its answers."""

    index: Index

    def unit_vectors(self, entities: np.ndarray) -> np.ndarray:
        """The vectors (k, d) of entities (k,), of length 1, by which they are near each other."""
        raise NotImplementedError

    def score_parts(
        self, target: str, entity: int | None, relation: int, answer: int, text: str | None
    ) -> dict[str, float] | None:
        """By part of a fused model, what it adds to the score of an answer beyond that of the mean candidate, and what soft types add,
        where they add something; None for other models.
        The query is for a `target`, of a known `entity` (None where a `text` describes it) and a `relation`, by positions."""
        return None

    @names_options
    def why(self, *, head: str, relation: str, tail: str, count: int = 3) -> Why:
        """What speaks for the triple (head, relation, tail), given by ids or names: at most `count` facts and paths. PmdError for a name
        that nothing has or that several have."""
        entities, relations = self.index.entities, self.index.relations
        wanted = (entities, head, "head"), (relations, relation, "relation"), (entities, tail, "tail")
        return self.why_answer("tail", *find_all(*wanted), count=count)

    def why_answers(self, answers: Answers, count: int = 3) -> list[Why]:
        """What speaks for each of the answers to a question: at most `count` facts and paths."""
        entities = self.index.entities
        known = answers.tail if answers.target == "head" else answers.head
        entity = None if known is None else entities.find(known[0], "entity")
        relation = self.index.relations.find(answers.relation[0], "relation")
        return [
            self.why_answer(
                answers.target, entity, relation, entities.find(answer.id, "entity"), count=count, text=answers.text
            )
            for answer in answers
        ]

    def why_relation(self, relations: Relations, answer: RelationAnswer, count: int = 3) -> Why:
        """What speaks for one `answer` among the relations between two entities: at most `count` facts and paths."""
        (head, _), (tail, _) = relations.ends(answer)
        return self.why(head=head, relation=answer.id, tail=tail, count=count)

    def why_answer(
        self, target: str, entity: int | None, relation: int, answer: int, *, count: int = 3, text: str | None = None
    ) -> Why:
        """What speaks for an answer to a question for a `target`: at most `count` facts and paths. The known `entity`, the relation and
        the answer are positions; `entity` is None where a `text` describes it."""
        triple = (answer, relation, entity) if target == "head" else (entity, relation, answer)
        near = near_facts(self._facts.triples, triple, self.unit_vectors, count)
        paths = [] if entity is None else self._facts.paths(entity, answer, triple, count)
        facts = tuple(LikeFact(self._fact(like.fact), like.head_cosine, like.tail_cosine) for like in near)
        start = None if entity is None else self.index.entities.pair(entity)
        ways = tuple(FactPath(start, tuple(map(self._fact, path.facts)), path.weight) for path in paths)
        return Why(facts, ways, self.score_parts(target, entity, relation, answer, text))

    @cached_property
    def _facts(self) -> Facts:
        return Facts(self.index.triples(*VISIBLE), self.index.num_entities, self.index.num_relations)

    def _fact(self, triple: tuple[int, int, int]) -> Fact:
        head, relation, tail = triple
        return self.index.entities.pair(head), self.index.relations.pair(relation), self.index.entities.pair(tail)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors (k, d) of length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _named(fact: Fact) -> dict[str, dict[str, str]]:
    return {part: {"id": pair[0], "name": pair[1]} for part, pair in zip(("head", "relation", "tail"), fact)}


def _like_line(like: LikeFact) -> str:
    names = ", ".join(name for _, name in like.fact)
    cosines = {"head": like.head_cosine, "tail": like.tail_cosine}
    near = ", ".join(f"{end} {cosine:.2f}" for end, cosine in cosines.items() if cosine is not None)
    return f"near: ({names}); {near}"


def _path_line(path: FactPath) -> str:
    """The facts between arrows: those that are read backwards point to the left."""
    place, words = path.start, [path.start[1]]
    for head, relation, tail in path.facts:
        forward = head == place
        place = tail if forward else head
        words.append(f"—{relation[1]}→ {place[1]}" if forward else f"←{relation[1]}— {place[1]}")
    return "path: " + " ".join(words)


def _parts_line(parts: Mapping[str, float] | None) -> list[str]:
    return [f"score: {', '.join(f'{name} {part:+.3f}' for name, part in parts.items())}"] if parts else []
