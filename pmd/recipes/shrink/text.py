"""The candidates of text models: every precision encodes once, and all widths and codes are ranked from these vectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd.core.types import TARGETS, Target
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.folder import TextModel, load_model, stored_entities
from pmd.models.text.precision import CodedVectors, coded, compressed, decompressed, stored_bytes
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.vectors import VectorScorer, leading_dimensions
from pmd.settings.shrink import Encoders, Vectors


@dataclass(frozen=True, eq=False)
class TextStage:
    """The model of a stage, and its graph's texts as it reads them."""

    name: str
    folder: Path
    whole: TextModel
    graph: KnowledgeGraph
    cache: str | None

    @classmethod
    def load(cls, folder: Path, graph: KnowledgeGraph, cache: str | None) -> TextStage:
        """That of a folder."""
        return cls(folder.name, folder, load_model(folder), graph, cache)

    @cached_property
    def text(self):
        """The graph's texts."""
        return self.whole.read(self.graph, self.cache)

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name."""
        return {name: weight.cpu().float().numpy() for name, weight in self.whole.model.state_dict().items()}

    def precisions(self, asked: list[Encoders]) -> list[Encoders]:
        """The precisions to look at: a model that is kept in bf16 has none that is finer than fp16."""
        return [precision for precision in asked if precision != "fp32" or not self.whole.model.config.half]

    def widths(self, asked: list[int] | None) -> list[int]:
        """The widths to look at."""
        model = self.whole.model
        return [width for width in asked or model.widths if width <= model.dim]

    def weight_bytes(self, precision: Encoders) -> int:
        """The bytes of the weights in a precision."""
        return stored_bytes([weight.shape for weight in self.weights.values()], precision)

    def scorer(self, precision: Encoders, device: torch.device) -> TextScorer:
        """The whole model with its weights in a precision, its entities encoded; in fp32, those of its folder."""
        if precision == "fp32":
            stored = stored_entities(self.folder, self.graph)
            entities = None if stored is None else stored.to(device)
            return TextScorer(self.whole.model.to(device), self.text, entities)
        model = BiEncoder(self.whole.model.config).eval()
        weights = decompressed(compressed(self.weights, precision))
        model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
        return TextScorer(model.to(device), self.text)


@dataclass(frozen=True, eq=False)
class CodedText:
    """The leading dimensions of an encoded model, its entities in codes."""

    whole: TextScorer
    width: int
    kind: Vectors

    @cached_property
    def vectors(self) -> CodedVectors:
        """The entities' vectors."""
        return coded(leading_dimensions(self.whole.entities.float(), self.width).cpu().numpy(), self.kind)

    @cached_property
    def entities(self) -> Tensor:
        """(num_entities, width)."""
        return torch.from_numpy(self.vectors.decoded).to(self.whole.entities.device)

    @cached_property
    def model(self) -> BiEncoder:
        """The model of this width."""
        return self.whole.model.crop(self.width)

    @property
    def num_entities(self) -> int:
        """Of the graph."""
        return self.whole.num_entities

    @property
    def num_relations(self) -> int:
        """Of the graph."""
        return self.whole.num_relations

    def prepare(self, triples: Tensor, targets: tuple[Target, ...] = TARGETS) -> None:
        """Encode the queries of these triples (n, 3) now."""
        self.whole.prepare(triples, targets)

    def query_vectors(self, triples: Tensor, target: Target) -> Tensor:
        """Unit vectors (b, width) of the queries of triples (b, 3)."""
        return leading_dimensions(self.whole.query_vectors(triples, target), self.width)

    @property
    def scorer(self) -> VectorScorer:
        """What ranks."""
        return VectorScorer(self.query_vectors, self.entities)


def cropped(whole: TextModel, width: int) -> TextModel:
    """The model whose vectors have so many dimensions."""
    return replace(whole, model=whole.model.crop(width))


def question(stage: TextStage, width: int, triples: Tensor) -> Callable[[], Tensor]:
    """A call that asks the tail of the next of some triples: its text is encoded, and all entities are scored."""
    model, text = stage.whole.model.crop(width).cpu().float(), stage.text
    queries = itertools.cycle([text.queries(head, relation) for head, relation in triples[:, :2, None].numpy()])
    entities = torch.randn(stage.graph.num_entities, width)

    def ask() -> Tensor:
        return encode_texts(model, "query", next(queries), text.pad) @ entities.T

    return ask
