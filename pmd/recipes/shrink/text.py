"""The candidates of text models: every precision encodes once, and all widths and codes are ranked from these vectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.metrics import RankingMetrics
from pmd.evaluation.ranking import rank, subsample
from pmd.evaluation.speed import median_seconds
from pmd.models.text.bi_encoder import BiEncoder, leading_dimensions
from pmd.models.text.folder import TextModel, load_model, stored_entities
from pmd.models.text.precision import CodedVectors, coded, compressed, decompressed
from pmd.models.text.scorer import TextScorer, encode_texts
from pmd.models.vectors import VectorScorer
from pmd.settings.shrink import Encoders, ShrinkConfig, Vectors


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
        return {name: weight.cpu().numpy() for name, weight in self.whole.model.state_dict().items()}

    def widths(self, asked: list[int] | None) -> list[int]:
        """The widths to look at."""
        model = self.whole.model
        return [width for width in asked or model.widths if width <= model.dim]

    def weight_bytes(self, precision: Encoders) -> int:
        """The bytes of the weights in a precision."""
        return sum(array.nbytes for array in compressed(self.weights, precision).values())

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


@dataclass(frozen=True)
class TextRanking:
    """The ranking of one candidate, and the bytes of its entity vectors."""

    metrics: RankingMetrics
    vector_bytes: int


def ranked(
    scorer: TextScorer, graph: KnowledgeGraph, split: str, widths: list[int], kinds: list[Vectors], config: ShrinkConfig
) -> Iterator[tuple[int, Vectors, TextRanking]]:
    """Rank a split by every width and code of the encodings of one model."""
    limit = (config.max_triples or None) if split == "valid" else None
    scorer.prepare(subsample(graph.split(split), limit, 0))
    for width, kind in itertools.product(widths, kinds):
        vectors = entity_codes(scorer, width, kind)
        by_codes = VectorScorer(query_vectors(scorer, width), torch.from_numpy(vectors.decoded).to(scorer.entities))
        metrics = rank(by_codes, graph, split, max_triples=limit, batch_size=config.batch_size)
        yield width, kind, TextRanking(metrics, vectors.nbytes)


def entity_codes(scorer: TextScorer, width: int, kind: Vectors) -> CodedVectors:
    """The codes of the leading dimensions of all entities."""
    return coded(leading_dimensions(scorer.entities, width).cpu().numpy(), kind)


def query_vectors(scorer: TextScorer, width: int) -> Callable[..., Tensor]:
    """The queries' leading dimensions, as unit vectors."""
    return lambda triples, target: leading_dimensions(scorer.query_vectors(triples, target), width)


def cropped(whole: TextModel, width: int) -> TextModel:
    """The model whose vectors have so many dimensions."""
    return replace(whole, model=whole.model.crop(width))


def milliseconds(stages: Mapping[str, tuple[TextStage, list[int]]], questions: int) -> dict[tuple[str, int], float]:
    """The median time of a question to each stage at each width: its text is encoded, and all entities are scored. With one
    thread on the CPU, the models in turns. All precisions are computed with in fp32, so that they take the same time."""
    calls = {
        (name, width): _question(stage, width, questions)
        for name, (stage, widths) in stages.items()
        for width in widths
    }
    with one_thread():
        return {key: 1000 * seconds for key, seconds in median_seconds(calls, questions).items()}


def _question(stage: TextStage, width: int, questions: int) -> Callable[[], Tensor]:
    """A call that asks the next of some questions."""
    graph, model, text = stage.graph, stage.whole.model.crop(width), stage.text
    triples = subsample(graph.valid, questions, 0)
    queries = itertools.cycle([text.queries(head, relation) for head, relation in triples[:, :2, None].numpy()])
    entities = torch.randn(graph.num_entities, width)

    def ask() -> Tensor:
        return encode_texts(model, "query", next(queries), text.pad) @ entities.T

    return ask


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
