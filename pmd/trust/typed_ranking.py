"""Ranking by scores after types (`pmd.trust.types`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pmd.core.types import Target, TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.ranking import Rerank
from pmd.trust.type_learning import learn_types
from pmd.trust.types import Mode, Types
from pmd.trust.validation import ValidationScores


@dataclass(frozen=True, eq=False)
class AfterTypes:
    """What types make of scores before they are ranked, after what another rerank does to them."""

    types: Types
    num_relations: int
    mode: Mode
    before: Rerank | None = None

    @classmethod
    def of(
        cls,
        scorer: TripleScorer,
        graph: KnowledgeGraph,
        mode: Mode,
        validated: Rerank | None = None,
        before: Rerank | None = None,
    ) -> AfterTypes:
        """Types whose weight the model's scores on the validation split choose; `validated` changes those, and `before` the scores
        that are ranked."""
        types = learn_types(graph, ValidationScores(scorer, graph, rerank=validated))
        return cls(types, graph.num_relations, mode, before)

    def adjust(self, scores: Tensor, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities) of the queries of triples (b, 3) -> new scores."""
        if self.before is not None:
            scores = self.before.adjust(scores, triples, target)
        questions = (triples[:, 1].cpu() + self.num_relations * (target == "head")).numpy()
        return torch.from_numpy(self.types.adjusted(scores.float().cpu().numpy(), questions, self.mode)).to(
            scores.device
        )
