"""The candidates with an embedding model: its widths alone, and fused with text models."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pmd.core.run import Run
from pmd.evaluation.fusing import Validated, choose, cross_validated, shares_of, validate
from pmd.models.fused.folder import Structure, fused
from pmd.models.fused.scorer import FusedScorer
from pmd.models.fused.weights import FusionWeights
from pmd.models.kge.model import KgeModel
from pmd.recipes.fuse import Parts, neutral
from pmd.recipes.shrink.candidates import Choice
from pmd.recipes.shrink.text import CodedText

RULE = "relation"
"""Of the weights of both parts."""


@dataclass(frozen=True, eq=False)
class Weighing:
    """Weights of a fused model, the queries that chose them, and how much too high its MRR on these is: what it is above that of
    weights that other queries chose, for the queries of `validated`."""

    weights: FusionWeights
    validated: Validated
    excess: float


@dataclass(frozen=True, eq=False)
class StructurePart:
    """The embedding model that text models are fused with.

    Args:
        parts: its folder and that of a text model, and their graph.
        run: that it is from.
        max_triples: validation triples that choose weights.
    """

    parts: Parts
    run: Run
    max_triples: int
    weighings: dict[Any, Weighing] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """Its name in its run."""
        return self.parts.folders["structure"].name

    @property
    def widths(self) -> list[int]:
        """Those that it was trained at; its own, where it cannot be cropped."""
        whole: KgeModel = self.parts.structure
        return [whole.dim] if whole.entity_encoder else [*whole.widths]

    def model(self, width: int, vectors: str) -> KgeModel:
        """The leading dimensions, its numbers rounded to fp16 unless vectors are in fp32."""
        model = copy.deepcopy(self.parts.structure.crop(width)).cpu().eval()
        if stored_as(vectors) == torch.float16:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(parameter.half())
        return model

    def weighing(self, choice: Choice, text: CodedText) -> Weighing:
        """The weights of a fused model. Those of codes of several bits and of all precisions of encoders are the same, for their scores
        are nearly the same."""
        key = choice.stage, choice.width, choice.structure_width, choice.vectors == "binary"
        if key not in self.weighings:
            graph, questions = self.parts.graph, 2 * self.parts.graph.num_relations
            parts = Parts(
                self.parts.folders, self.parts.data, graph, text, self.model(choice.structure_width, choice.vectors)
            )
            validated = validate(neutral(parts), graph, max_triples=self.max_triples)
            weights = choose(RULE, validated, questions)
            in_sample = validated.mrr(shares_of(weights, validated))
            excess = in_sample - cross_validated(RULE, validated, questions)
            self.weighings[key] = Weighing(weights, validated, excess)
        return self.weighings[key]

    def structure(self, choice: Choice, text: CodedText) -> Structure:
        """The structure of a fused model, with its weights."""
        model = self.model(choice.structure_width, choice.vectors)
        return Structure.of(model, self.parts.graph, self.weighing(choice, text).weights)

    def fused(self, choice: Choice, text: CodedText) -> FusedScorer:
        """A fused model as a scorer."""
        return fused(text, self.structure(choice, text), self.parts.graph)

    def bytes(self, choice: Choice, text: CodedText | None) -> int:
        """The bytes of the embedding model, and of the weights of both parts where there is a text."""
        model = self.model(choice.structure_width or choice.width, choice.vectors)
        size = torch.finfo(stored_as(choice.vectors)).bits // 8 * sum(p.numel() for p in model.parameters())
        if text is None:
            return size
        structure = self.structure(choice, text)
        columns = [*structure.weights.columns().values(), structure.degrees]
        return size + sum(column.nbytes for column in columns) + len(structure.known)


def stored_as(vectors: str) -> torch.dtype:
    """The type of the numbers of an embedding model beside entity vectors of this precision."""
    return torch.float32 if vectors == "fp32" else torch.float16


def structure_question(model: KgeModel, triples: Tensor) -> Callable[[], Tensor]:
    """A call that asks an embedding model for the tail of the next of some triples."""
    asked = itertools.cycle(triples.split(1))
    return lambda: model.score_all(next(asked), "tail")


def fused_question(text: Callable[[], Tensor], scorer: FusedScorer, triples: Tensor) -> Callable[[], Any]:
    """The same of a fused model: a question to its text, then the structure part of the query and its product with all entities."""
    asked = itertools.cycle(triples[:, :2].split(1))
    vectors = torch.from_numpy(scorer.vectors)

    def ask() -> Tensor:
        head, relation = next(asked)[0].numpy()
        query = scorer.fusion.queries(scorer.vectors, head[None], relation[None])
        return text() + torch.from_numpy(query) @ vectors.T

    return ask
