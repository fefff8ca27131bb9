"""Questions to a trained model: which entities complete (h, r, ?) or (?, r, t), best first.

What the graph already says comes first, by split, then what the model proposes beyond it. Models of every family answer through
this module; they differ in `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.errors import PmdError, names_options, options_of, refuse_unknown
from pmd.trust.sides import refuse_nan
from pmd.trust.types import Mode, Types
from pmd.use.answer_records import Answer, Answers, Question
from pmd.use.calibrated import GivesProbabilities
from pmd.use.explaining import Explains
from pmd.use.index import Index
from pmd.use.judging import JudgesTriples
from pmd.use.names import find_all
from pmd.use.suggesting import SuggestsFacts

if TYPE_CHECKING:  # the module of types loads torch
    from pathlib import Path

    from pmd.core.types import Target

QUESTIONS_PER_BLOCK = 64
"""Questions that are scored together, at most; the memory holds that many rows of scores."""
SCORES_PER_BLOCK = 1 << 26
"""Scores that are made together, at most: a quarter of a gigabyte."""
PARTS = ("head", "relation", "tail", "text", "target")
"""What a question may be given by."""


@dataclass(frozen=True)
class Listing:
    """Which answers are listed; `TrainedModel.answer` describes the fields. PmdError for what cannot be."""

    top_k: int = 10
    new: bool = False
    all: bool = False
    types: Mode = "soft"
    candidates: Sequence[str] | None = None
    coverage: float | None = None
    max_set: int = 100

    def __post_init__(self):
        for name in ("top_k", "max_set"):
            if getattr(self, name) < 1:
                raise PmdError(f"{name}: {getattr(self, name)} answers are none; ask for at least 1")
        if self.new and self.all:
            raise PmdError("new, all: new answers alone, or all in one list; leave one of the two out")
        if self.coverage is None and self.max_set != Listing.max_set:
            raise PmdError("max_set: bounds the set of a coverage; leave it out, or give a coverage too")
        if self.candidates is not None and not self.candidates:
            raise PmdError("candidates: there are none; name an entity, or leave it out")
        if self.coverage is not None and (self.types != "soft" or self.candidates is not None):
            option = "candidates" if self.types == "soft" else "types"
            raise PmdError(f"coverage: was learned of answers among all entities, by soft types; leave {option} out")


class TrainedModel(GivesProbabilities, JudgesTriples, Explains, SuggestsFacts):
    """A trained model that answers questions, as `pmd.load` returns it, whatever its family: `TrainedText`, `TrainedKge` or
    `TrainedFused`. Questions are asked by `answer`, whole triples judged by `classify`, and what a graph lacks is listed by `suggest`.

    Args:
        open_index: opens the index of the model's folder, which is built first if necessary; None for a model without one.
        folder: of the model.
    """

    open_index: Callable[[], Index] | None

    folder: Path

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths, in dimensions, increasing; the last one is the model's own."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.folder}', {self.widths[-1]} wide)"

    def crop(self, width: int) -> TrainedModel:
        """The model of the leading `width` dimensions, at best one of `widths`. PmdError if it does not have so many."""
        raise NotImplementedError

    @cached_property
    def index(self) -> Index:
        """Names, known triples and entities. PmdError if the model was not loaded from a folder."""
        if self.open_index is None:
            raise PmdError("this model has no index of its graph; load it with pmd.load(folder)")
        return self.open_index()

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The scores (b, num_entities) of all entities as answers to the questions (b)."""
        raise NotImplementedError

    @cached_property
    def types(self) -> Types | None:
        """Which entities fit which questions; None where the index was written by a version that did not learn it."""
        facts = self.index.metadata.get("types")
        return None if facts is None else Types.stored(self.index.column, facts)

    def answer_scores(self, questions: Sequence[Question], types: Mode = "soft") -> np.ndarray:
        """The scores (b, num_entities) by which answers to questions (b) are ordered: `scores` after types; −∞ for what cannot answer.

        Raises:
            PmdError: for strict types, if the index has none.
        """
        return self.after_types(self.scores(questions), questions, types)

    def after_types(
        self, scores: np.ndarray, questions: Sequence[Question], types: Mode, entities: np.ndarray | None = None
    ) -> np.ndarray:
        """The scores (b, m) of some `entities` (m,), by default of all, as answers to questions (b), after types. PmdError as of
        `answer_scores`."""
        if types == "off" or (self.types is None and types == "soft"):
            return scores
        if self.types is None:
            raise PmdError(f"types: {self.index.folder} has none; rebuild it: pmd answer {self.index.model} --build")
        inverse = self.index.num_relations
        rows = np.array([question.relation + inverse * (question.target == "head") for question in questions])
        of_these = self.types if entities is None else self.types.of(entities)
        return of_these.adjusted(scores, rows, types)

    def candidates(self, questions: Sequence[Question], types: Mode) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each of the questions the entities (m,) that may answer it, ascending and known answers among them, and their scores (m,)
        after types; -∞ for what cannot answer. Here all entities; a search that makes a short list gives that."""
        entities = np.arange(self.index.num_entities)
        for scores in self.answer_scores(questions, types):
            yield entities, scores

    def known_answers(self, question: Question) -> tuple[np.ndarray, np.ndarray]:
        """The known answers (k,) of a question, ascending, and the splits (k,) that have them: bit i stands for split i. Of a text there are
        none."""
        if question.entity is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return self.index.known_answers(question.target, question.entity, question.relation)

    def query_scores(self, target: Target, entities: np.ndarray, relations: np.ndarray) -> np.ndarray:
        """The same scores (b, num_entities) of queries for a `target`, of known entities (b,) and relations (b,)."""
        asked = zip(entities.tolist(), relations.tolist())
        return self.answer_scores([Question(target, relation, entity) for entity, relation in asked])

    def query_probabilities(
        self, target: Target, entity: int, relation: int, scores: np.ndarray, known: np.ndarray, **options: bool
    ) -> np.ndarray | None:
        """The probabilities (num_entities,) of all entities as answers to a query for a `target`, of a known entity and a relation,
        with these scores (num_entities,) and known answers (k,); None if nothing was learned of such. Options as of `probabilities`."""
        return self.probabilities(Question(target, int(relation), int(entity)), scores, known, **options)

    @names_options
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
        all: bool = False,
        types: Mode = "soft",
        candidates: Sequence[str] | None = None,
        coverage: float | None = None,
        max_set: int = 100,
    ) -> Answers:
        """The best completions of (head, relation, ?) or (?, relation, tail): known ones by themselves, and new ones.

        Args:
            head, tail: the known entity, by id or name; give one of the two.
            relation: by id or name.
            text: for text models, a description of a known entity that is not in the graph.
            target: with `text`, the missing end: `tail` (default) or `head`.
            top_k: how many answers, and how many known ones beside them.
            new: leave out what is known.
            all: one list of both, best first; known answers name their splits.
            types: `soft` favours entities that fit the open end of the question, as far as that helped on validation;
                `strict` leaves out the others too; `off` takes the model's own scores.
            candidates: ids or names of the only entities that may answer.
            coverage: instead of the best `top_k`, the smallest set that holds the true answer of so many such questions, 0.9 for
                90 in 100; no answers where none is sure.
            max_set: with `coverage`, the largest set that is given.

        Returns:
            The answers; a sequence.

        Raises:
            PmdError: for a name that nothing has or that several have, and unless exactly one entity is known.
        """
        question = self.question(head=head, relation=relation, tail=tail, text=text, target=target)
        listing = Listing(top_k, new, all, types, candidates, coverage, max_set)
        return next(self._answer_listed([question], listing))

    def question(self, **parts: str | None) -> Question:
        """Look up the names of a question; its parts are those of `answer`, None or left out if not given. PmdError for a name that
        nothing has or that several have, and unless exactly one end is known."""
        refuse_unknown("question", parts, PARTS)
        known = [part for part in ("head", "tail", "text") if parts.get(part) is not None]
        if len(known) != 1:
            number = f"{' and '.join(known)} are" if known else "none is"
            raise PmdError(f"give one of head, tail and text ({number} given); the other end is what is asked for")
        if parts.get("relation") is None:
            raise PmdError("relation: none is given; name one by its id or name")
        target = _missing_end(known[0], parts.get("target"))
        relations, entities = self.index.relations, self.index.entities
        if known == ["text"]:
            self.check_text(parts["text"])
            return Question(target, relations.find(parts["relation"], "relation"), text=parts["text"])
        wanted = (relations, parts["relation"], "relation"), (entities, parts[known[0]], known[0])
        relation, entity = find_all(*wanted)
        return Question(target, relation, entity)

    def check_text(self, text: str) -> None:
        """PmdError for a text that cannot describe an entity to this model."""
        if not text.strip():
            raise PmdError("text: it is empty; describe the entity")

    def answer_all(self, questions: Sequence[Question], **options: Any) -> Iterator[Answers]:
        """The answers to each question; questions are scored in blocks. The options are those of `answer`."""
        refuse_unknown("answer_all", options, options_of(Listing))
        return self._answer_listed(questions, Listing(**options))

    def _answer_listed(self, questions: Sequence[Question], listing: Listing) -> Iterator[Answers]:
        if listing.coverage is not None:
            self.check_coverage(questions, listing.coverage)
        allowed = None
        if listing.candidates is not None:
            allowed = np.zeros(self.index.num_entities, dtype=bool)
            allowed[[self.index.entities.find(name, "candidates") for name in listing.candidates]] = True
        size = max(1, min(QUESTIONS_PER_BLOCK, SCORES_PER_BLOCK // self.index.num_entities))
        for start in range(0, len(questions), size):
            block = questions[start : start + size]
            for question, (entities, scores) in zip(block, self.candidates(block, listing.types)):
                yield self._answers(question, entities, scores, listing, allowed)

    def _answers(
        self,
        question: Question,
        entities: np.ndarray,
        scores: np.ndarray,
        listing: Listing,
        allowed: np.ndarray | None,
    ) -> Answers:
        """The answers among candidates (m,) with scores (m,); below, an answer is its place among them."""
        refuse_nan(scores)
        index = self.index
        known, split_bits = self.known_answers(question)
        known = np.searchsorted(entities, known)
        if question.entity is not None and index.subgraphs is not None and index.subgraphs[question.entity]:
            scores = np.where(index.subgraphs[entities] == index.subgraphs[question.entity], scores, -np.inf)
        every_score, every_known = scores, known
        if allowed is not None:
            scores = np.where(allowed[entities], scores, -np.inf)
            known, split_bits = (column[allowed[entities[known]]] for column in (known, split_bits))
        first = [] if listing.new or listing.all else _by_split(known, split_bits, scores)[: listing.top_k].tolist()
        bits_of = dict(zip(known.tolist(), split_bits.tolist()))
        ranked, answer_set, number = scores, None, listing.top_k
        if not listing.all:
            ranked = scores.copy()
            ranked[known] = -np.inf
        if listing.coverage is not None:
            number = listing.max_set
            ranked, answer_set = self.answer_set(question, ranked, listing.coverage, number, new=not listing.all)

        best = best_entities(ranked, number).tolist()
        likely = {}  # probabilities, which were learned of scores after soft types, of all candidates
        listed = [place for place in (*first, *best) if scores[place] > -np.inf]  # a short list may lack a known answer
        if listing.types == "soft" and listed:
            probabilities = self.probabilities(question, every_score, every_known, entities=np.array(listed))
            likely = {} if probabilities is None else dict(zip(listed, probabilities.tolist()))

        def answer(rank: int, place: int) -> Answer:
            score = None if np.isneginf(scores[place]) else float(scores[place])
            splits = index.split_names(bits_of.get(place, 0))
            return Answer(rank, *index.entities.pair(int(entities[place])), score, splits, likely.get(place))

        entity = None if question.entity is None else index.entities.pair(question.entity)
        return Answers(
            question.target,
            None if question.target == "head" else entity,
            index.relations.pair(question.relation),
            entity if question.target == "head" else None,
            question.text,
            tuple(answer(rank, place) for rank, place in enumerate(best, 1)),
            answer_set,
            tuple(answer(1 + int((scores > scores[place]).sum()), place) for place in first),
            len(known),
        )


def _by_split(known: np.ndarray, split_bits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The known answers (m,) by the first split that has each, then by score."""
    return known[np.lexsort((-scores[known], split_bits & -split_bits))]


def _missing_end(known: str, target: str | None) -> Target:
    """The end that a question asks for; `target` may only be given with a text."""
    if known == "text":
        target = target or "tail"
    elif target is not None:
        raise PmdError(f"target: the {known} is known, so the other end is asked for; leave target out")
    else:
        target = "tail" if known == "head" else "head"
    if target not in ("head", "tail"):
        raise PmdError(f"target: {target!r} is neither head nor tail")
    return target


def best_entities(scores: np.ndarray, count: int) -> np.ndarray:
    """The entities (≤ count,) of the highest scores (n,), best first, ties by position; a score of -inf is none."""
    if count < len(scores):
        lowest = np.partition(scores, len(scores) - count)[len(scores) - count]
        candidates = np.flatnonzero(scores >= lowest)
    else:
        candidates = np.arange(len(scores))
    order = candidates[np.lexsort((candidates, -scores[candidates]))][:count]
    return order[scores[order] > -np.inf]
