"""The scores of a model on validation queries, from which it is learned how far to trust its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pmd.core.types import ANSWER_COLUMN, TARGETS, Target, TripleScorer
from pmd.data.graphs.answers import KnownAnswers
from pmd.evaluation.ranking import Rerank, subsample
from pmd.trust.sides import affordable

MAX_TRIPLES = 500
"""Validation triples that are asked in both directions, at most."""
MIN_TRIPLES = 100
"""Of millions of entities fewer triples are asked (`pmd.trust.sides.affordable`), but never fewer than these."""
BATCH, BATCH_SCORES = 256, 2**25
"""Queries that are scored at a time, and their scores, at most."""
KEPT_SCORES = 2**26
"""So many scores are kept between two passes; where there are more, they are computed again."""
PART = 2**16
"""Scores of a query that are compared at a time."""
_AHEAD = (np.greater, np.greater_equal)
Change = Callable[[np.ndarray, Any], np.ndarray]
"""From scores and their places in all of a chunk's, (b, num_entities), to other scores."""


class Graph(Protocol):
    """What is asked of a `KnowledgeGraph` here, so that an index can stand for it."""

    num_entities: int
    num_relations: int
    train: Tensor
    valid: Tensor

    def known_triples(self, split: str) -> Tensor: ...

    def candidates(self, split: str) -> Tensor | None: ...


@dataclass(frozen=True, eq=False)
class Chunk:
    """Validation queries (b) for one target.

    `questions` are relations, of head queries those from num_relations on; `scores` and `excluded`, the other known answers and
    the entities of another graph, are (b, num_entities).
    """

    triples: np.ndarray
    target: Target
    questions: np.ndarray
    answers: np.ndarray
    scores: np.ndarray
    excluded: np.ndarray

    def reciprocal_ranks(self, change: Change | None = None) -> np.ndarray:
        """Filtered realistic reciprocal ranks (b,) of the answers by the scores, or by what `change` makes of them."""
        change = change or (lambda scores, places: scores)
        asked = np.arange(len(self.scores)), self.answers
        true, left_out = (change(self.scores[places], places) for places in (asked, self._excluded_places))
        rows = self._excluded_places[0]
        counts = [-np.bincount(rows[ahead(left_out, true[rows])], minlength=len(true)) for ahead in _AHEAD]
        for row, answer in enumerate(true):
            # Part by part, which stays in the processor's cache while it is changed and compared.
            for start in range(0, self.scores.shape[1], PART):
                places = row, slice(start, start + PART)
                part = change(self.scores[places], places)
                for count, ahead in zip(counts, _AHEAD):
                    count[row] += np.count_nonzero(ahead(part, answer))
        # The answer is not below itself, so the second count has it already.
        return 2 / (1 + counts[0] + counts[1])

    @cached_property
    def _excluded_places(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and entities of `excluded`: few beside all scores, where there is one graph."""
        return self.excluded.nonzero()


class ValidationScores:
    """The chunks of a model's validation queries, head queries first; it can be read several times.

    Args:
        scorer: of the graph's entities.
        rerank: changes the scores, as in `ranks`.
        max_triples: of the split, drawn by a fixed seed; in both directions.
    """

    def __init__(
        self,
        scorer: TripleScorer,
        graph: Graph,
        *,
        rerank: Rerank | None = None,
        max_triples: int = MAX_TRIPLES,
    ):
        queries = affordable(2 * max_triples, 2 * MIN_TRIPLES, graph.num_entities)
        self.scorer, self.graph, self.rerank = scorer, graph, rerank
        self.triples = subsample(graph.valid, queries // 2, seed=0)
        self._known = KnownAnswers.of(graph, "valid")
        self._kept: list[Chunk] | None = None

    def __len__(self) -> int:
        """How many queries there are."""
        return 2 * len(self.triples)

    def __iter__(self) -> Iterator[Chunk]:
        if self._kept is not None:
            yield from self._kept
            return
        kept = [] if len(self) * self.graph.num_entities <= KEPT_SCORES else None
        for chunk in self._chunks():
            if kept is not None:
                kept.append(chunk)
            yield chunk
        self._kept = kept

    def _chunks(self) -> Iterator[Chunk]:
        if hasattr(self.scorer, "prepare"):
            self.scorer.prepare(self.triples)
        size = max(1, min(BATCH, BATCH_SCORES // self.graph.num_entities))
        for target in TARGETS:
            for triples in self.triples.split(size) if len(self.triples) else ():
                yield self._chunk(triples, target)

    @torch.no_grad()
    def _chunk(self, triples: Tensor, target: Target) -> Chunk:
        scores = self.scorer.score_all(triples.to(getattr(self.scorer, "device", "cpu")), target)
        if self.rerank is not None:
            scores = self.rerank.adjust(scores, triples, target)
        answers = triples[:, ANSWER_COLUMN[target]]
        questions = triples[:, 1] + self.graph.num_relations * (target == "head")
        excluded = self._excluded(triples, target, answers)
        columns = (triples.numpy(), target, questions.numpy(), answers.numpy())
        return Chunk(*columns, scores.float().cpu().numpy(), excluded)

    def _excluded(self, triples: Tensor, target: Target, answers: Tensor) -> np.ndarray:
        candidates = self.graph.candidates("valid")
        excluded = np.zeros((len(triples), self.graph.num_entities), dtype=bool)
        if candidates is not None:
            excluded[:] = True
            excluded[:, candidates.numpy()] = False
        rows, entities = self._known.lookup(triples, target)
        excluded[rows.numpy(), entities.numpy()] = True
        excluded[np.arange(len(triples)), answers.numpy()] = False
        return excluded
