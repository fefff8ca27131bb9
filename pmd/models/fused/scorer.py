"""A text model and an embedding model as one scorer: an inner product of two vectors, each with a part of either."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pmd.core.types import KNOWN_COLUMN, TARGETS, Target
from pmd.models.fused.fusion import Fusion
from pmd.models.kge.model import KgeModel
from pmd.models.text.scorer import TextScorer


class FusedScorer:
    """Weighted sums of the scores of both parts, from one matrix product.

    Args:
        text: the text part, of the graph that is scored.
        structure: the embedding model, for those who count parameters.
        fusion: what is known of the graph's entities and relations.
        vectors: (num_entities, width) structure parts of the entities.
    """

    device = torch.device("cpu")
    """Where triples are read."""

    def __init__(self, text: TextScorer, structure: KgeModel, fusion: Fusion, vectors: np.ndarray):
        self.text, self.fusion, self.vectors = text, fusion, vectors
        self.model = nn.ModuleList([text.model, structure])
        self.num_entities, self.num_relations = text.num_entities, text.num_relations
        entities = text.entities.float()
        self.entities = torch.cat([entities, torch.from_numpy(vectors).to(entities)], 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of its vectors; narrower ones are models of their own (`pmd.models.fused.folder.crop`)."""
        return (self.entities.shape[1],)

    def prepare(self, triples: Tensor, targets: tuple[Target, ...] = TARGETS) -> None:
        """Encode the queries of these triples (n, 3) now, as `TextScorer.prepare` does."""
        self.text.prepare(triples, targets)

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        """(b, 3) -> scores (b, num_entities) of every entity as the `target` of each triple."""
        return self.query_vectors(triples, target) @ self.entities.T

    def query_vectors(self, triples: Tensor, target: Target) -> Tensor:
        """The vectors (b, d) of the queries of triples (b, 3), weighted."""
        parts = self.parts(triples, target)
        entities, questions = self._asked(triples, target)

        def scores() -> tuple[np.ndarray, ...]:
            return tuple(part.cpu().numpy() for part in self.part_scores(parts))

        factors = torch.from_numpy(self.fusion.factors(entities, questions, scores)).to(parts[0])
        return torch.cat([part * factor[:, None] for part, factor in zip(parts, factors.T)], 1)

    def parts(self, triples: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """The two parts (b, d) of the vectors of queries, as they are before they are weighted."""
        text = self.text.query_vectors(triples, target)
        structure = self.fusion.queries(self.vectors, *self._asked(triples, target))
        return text, torch.from_numpy(structure).to(text)

    def part_scores(self, parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The scores (b, num_entities) of either part: cosines, and those of the embedding model."""
        return tuple(part @ own.T for part, own in zip(parts, self.entities.split([len(part.T) for part in parts], 1)))

    def _asked(self, triples: Tensor, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Known entities (b,) and questions (b,): relations, then inverse relations."""
        triples = triples.cpu().numpy()
        return triples[:, KNOWN_COLUMN[target]], triples[:, 1] + (self.num_relations if target == "head" else 0)
