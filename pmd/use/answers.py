"""Questions to a trained model: which entities complete (h, r, ?) or (?, r, t), best first.

What is already known is marked with the splits that say so. Every kind of model answers through this module; what
differs is `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError
from pmd.use.index import Index

if TYPE_CHECKING:  # its module loads torch
    from pmd.core.types import Target

BLOCK = 64
"""Questions that are scored together: what bounds the memory, to so many rows of scores."""


@dataclass(frozen=True)
class Answer:
    """One entity: its place in the ranking, from 1, its id and name, its score, and the splits that know the triple."""

    rank: int
    id: str
    name: str
    score: float
    known: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question whose names are found: `target` is open, `entity` is the position of the known entity, or None
    where `text` describes one that is not in the graph."""

    target: Target
    relation: int
    entity: int | None = None
    text: str | None = None


@dataclass(frozen=True)
class Answers(Sequence):
    """The answers to a question, best first.

    `head`, `relation` and `tail` are (id, name) pairs, None for what is asked or described by `text`.
    """

    target: Target
    head: tuple[str, str] | None
    relation: tuple[str, str]
    tail: tuple[str, str] | None
    text: str | None
    answers: tuple[Answer, ...]

    def __getitem__(self, place):
        return self.answers[place]

    def __len__(self) -> int:
        return len(self.answers)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ids and names apart, what is asked as null."""
        pairs = {part: getattr(self, part) for part in ("head", "relation", "tail")}
        named = {part: pair and {"id": pair[0], "name": pair[1]} for part, pair in pairs.items()}
        found = [{**asdict(answer), "known": list(answer.known)} for answer in self.answers]
        return {"target": self.target, **named, "text": self.text, "answers": found}


class Answering:
    """A model that can be asked. Subclasses give `scores`."""

    open_index: Callable[[], Index] | None
    """Gives the index of the model's folder, built if need be."""

    @cached_property
    def index(self) -> Index:
        """Names, known triples and entities. PmdError if the model comes from no folder."""
        if self.open_index is None:
            raise PmdError("this model has no index of its graph; save it, and load it again with pmd.load(folder)")
        return self.open_index()

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The scores (b, num_entities) of every entity as the answer to each question."""
        raise NotImplementedError

    def answer(
        self,
        *,
        head: str | None = None,
        relation: str | None = None,
        tail: str | None = None,
        text: str | None = None,
        target: Target | None = None,
        top_k: int = 10,
        new: bool = False,
    ) -> Answers:
        """The best completions of (head, relation, ?) or (?, relation, tail).

        Args:
            head, tail: the known entity, one of the two, by id or name.
            relation: by id or name.
            text: for a text model, a description of an entity that is not in the graph, in the place of the known one.
            target: what is asked for with a `text`: `tail` (default) or `head`.
            top_k: how many answers.
            new: leave out what is already known.

        Raises:
            PmdError: for names that are not there or that several share, and for no or two known entities.
        """
        question = self.question(head=head, relation=relation, tail=tail, text=text, target=target)
        return next(self.answer_all([question], top_k=top_k, new=new))

    def question(self, **parts: str | None) -> Question:
        """Find the names of a question; its parts are those of `answer`, None where they are not given."""
        known = [part for part in ("head", "tail", "text") if parts.get(part) is not None]
        if len(known) != 1:
            said = f"{' and '.join(known)} are" if known else "none is"
            raise PmdError(f"give one of head, tail and text ({said} given); the other end is what is asked for")
        if parts.get("relation") is None:
            raise PmdError("relation: none is given; name one by its id or name")
        (part,), target = known, parts.get("target")
        if part == "text":
            target = target or "tail"
        elif target is not None:
            raise PmdError(f"target: the {part} is known, so the other end is asked for; leave target out")
        else:
            target = "tail" if part == "head" else "head"
        if target not in ("head", "tail"):
            raise PmdError(f"target: {target!r} is neither head nor tail")
        relation = self.index.relations.find(parts["relation"], "relation")
        if part == "text":
            self.check_text(parts["text"])
            return Question(target, relation, text=parts["text"])
        return Question(target, relation, self.index.entities.find(parts[part], part))

    def check_text(self, text: str) -> None:
        """PmdError if this model cannot read a description."""
        if not text.strip():
            raise PmdError("text: it is empty; describe the entity")

    def answer_all(self, questions: Sequence[Question], *, top_k: int = 10, new: bool = False) -> Iterator[Answers]:
        """The answers to questions, one after the other; several are scored together."""
        if top_k < 1:
            raise PmdError(f"top_k: {top_k} answers are none; ask for one at least")
        for start in range(0, len(questions), BLOCK):
            block = questions[start : start + BLOCK]
            for question, scores in zip(block, self.scores(block)):
                yield self._best(question, scores, top_k, new)

    def _best(self, question: Question, scores: np.ndarray, top_k: int, new: bool) -> Answers:
        if np.isnan(scores).any():
            raise PmdError("the model gives NaN as a score: has its training diverged?")
        index, known, bits = self.index, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if question.entity is not None:
            known, bits = index.known(question.target, question.entity, question.relation)
            if index.parts is not None and index.parts[question.entity]:
                scores = np.where(index.parts == index.parts[question.entity], scores, -np.inf)
        if new and len(known):
            scores = scores.copy()
            scores[known] = -np.inf
        splits = dict(zip(known.tolist(), bits.tolist()))
        found = [
            Answer(rank, *index.entities.pair(row), float(scores[row]), tuple(index.splits(splits.get(row, 0))))
            for rank, row in enumerate(best(scores, top_k).tolist(), 1)
        ]
        ends: dict[str, tuple[str, str] | None] = {"head": None, "tail": None}
        if question.entity is not None:
            ends["tail" if question.target == "head" else "head"] = index.entities.pair(question.entity)
        relation = index.relations.pair(question.relation)
        return Answers(question.target, ends["head"], relation, ends["tail"], question.text, tuple(found))


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` highest scores (n,), best first, of equal ones the first; without those of -inf."""
    if count < len(scores):
        lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= lowest)
    else:
        places = np.arange(len(scores))
    order = places[np.lexsort((places, -scores[places]))][:count]
    return order[scores[order] > -np.inf]
