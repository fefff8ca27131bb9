"""Fused models that answer questions and can be cropped: without torch wherever their text part can.

The index of a fused model is that of its text part, with both parts of every entity side by side in vectors.npy, and with the
tables and weights that queries are made by. `structure/` is not read to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.models.families import check_width, stored_settings
from pmd.models.fused.fusion import Fusion
from pmd.models.text.precision import CodedVectors
from pmd.use import text_models
from pmd.use.answer_records import Question
from pmd.use.answers import TrainedModel
from pmd.use.explaining import normalised
from pmd.use.index import Columns, Index, crop_vectors
from pmd.use.text_models import TrainedText

if TYPE_CHECKING:
    from pmd.core.types import Target
    from pmd.data.graphs.graph import KnowledgeGraph

VECTORS = "vectors.npy"


def open_model(folder: Path, settings: dict[str, Any], open_index: Callable[[], Index]) -> TrainedFused:
    """The model of a folder."""
    text = TrainedText(folder / "text", stored_settings(folder / "text"), open_index)
    return TrainedFused(text, settings, open_index)


def write_part(
    index: Path, model: Path, graph: KnowledgeGraph, cache: str | None = None, earlier: Index | None = None
) -> tuple[dict[str, Any], Columns]:
    """Write vectors.npy into the folder of a new index; the metadata and columns of texts and of the structure."""
    metadata, columns = text_models.write_part(index, model / "text", graph, cache, earlier)
    beside = {name: columns.pop(f"vector_{name}", None) for name in ("scales", "centre")}
    vectors = CodedVectors(np.load(index / VECTORS), **beside).decoded
    return _with_structure(index, model, graph, vectors, metadata, columns)


def crop_part(index: Index, folder: Path, model: Path, width: int | None) -> tuple[dict[str, Any], Columns]:
    """Write the vectors of a cropped model into the folder of an index, from those of the whole model's; the metadata and
    columns that change."""
    from pmd.models.kge.folder import Vocabulary

    entities, relations = (
        index.entities,
        index.relations,
    )  # of a graph that may have changed since the model was trained
    graph = Vocabulary(entities.ids, entities.names, entities.descriptions, relations.ids, relations.names)
    width = stored_settings(model)["text_dim"]
    vectors = crop_vectors(index.vectors[:, : index.metadata["text_dim"]], width)
    return _with_structure(folder, model, graph, vectors, {}, {})


def _with_structure(
    index: Path, model: Path, graph: Any, text: np.ndarray, metadata: dict[str, Any], columns: Columns
) -> tuple[dict[str, Any], Columns]:
    """Write the vectors of both parts; the metadata and columns of an index, completed by those of the structure."""
    from pmd.models.fused.folder import load_structure

    fusion, structure = load_structure(model).fusion(graph)
    np.save(index / VECTORS, np.concatenate([text, structure], 1))
    sizes = {"dim": text.shape[1] + structure.shape[1], "text_dim": text.shape[1], "tables": fusion.tables.facts}
    return metadata | sizes, columns | fusion.columns()


@dataclass(frozen=True, eq=False, repr=False)
class TrainedFused(TrainedModel):
    """A text model and an embedding model in one index, which answer questions together.

    Args:
        text: the text part.
        settings: the model's config.json.
        open_index: opens the index of its graph, which questions need.
        width: it compares so many leading dimensions of the text part; None for all.
        structure_width: the same of the structure.
    """

    text: TrainedText
    settings: dict[str, Any]
    open_index: Callable[[], Index] | None = None
    width: int | None = None
    structure_width: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths of the text part, in dimensions, increasing."""
        return self.text.widths

    @property
    def is_whole(self) -> bool:
        return self.text.is_whole and self.structure_dim == self.settings["structure_dim"]

    def crop(self, width: int | None = None, structure_width: int | None = None) -> TrainedFused:
        """The same model, answering by the leading `width` dimensions of the text and `structure_width` of the structure, each None for
        what it has now. PmdError if it does not have so many."""
        for asked, now in ((width, self.text.dim), (structure_width, self.structure_dim)):
            check_width(asked or now, now)
        text = self.text.crop(width) if width else self.text
        structure_width = structure_width or self.structure_width
        return replace(self, text=text, width=width or self.width, structure_width=structure_width)

    @property
    def structure_dim(self) -> int:
        """The width of the structure that is compared."""
        return self.structure_width or self.settings["structure_dim"]

    def check_text(self, text: str) -> None:
        self.text.check_text(text)

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The weighted sums (b, num_entities) of both parts' scores of all entities as answers to the questions (b)."""
        return np.concatenate(self._queries(questions), 1) @ self._vectors.T

    def _queries(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """The two parts (b, d) of the vectors of questions, weighted."""
        inverse = self.index.num_relations
        entities = np.array([-1 if question.entity is None else question.entity for question in questions])
        rows = np.array([question.relation + inverse * (question.target == "head") for question in questions])
        text, structure = self._parts
        queries = (
            crop_vectors(self.text.queries(questions), self.width),
            self._fusion.queries(structure, entities, rows),
        )
        factors = self._fusion.factors(entities, rows, lambda: (queries[0] @ text.T, queries[1] @ structure.T))
        return [query * factor[:, None] for query, factor in zip(queries, factors.T)]

    def unit_vectors(self, entities: np.ndarray) -> np.ndarray:
        """The vectors (k, d) of entities (k,), of length 1: half of a cosine is that of the texts, half that of the structure."""
        text, structure = (part[entities] for part in self._parts)
        embeddings = self._fusion.tables.entities(structure).reshape(len(entities), -1)
        return np.concatenate([normalised(text), normalised(embeddings)], 1) * np.float32(np.sqrt(0.5))

    def score_parts(
        self, target: Target, entity: int | None, relation: int, answer: int, text: str | None
    ) -> dict[str, float]:
        question = Question(target, relation, entity, text)
        queries = self._queries([question])
        scores = [(vectors @ query[0]).astype(np.float64) for query, vectors in zip(queries, self._parts)]
        whole = sum(scores)
        scores.append(self.after_types(whole[None], [question], "soft")[0] - whole)
        parts = {name: float(part[answer] - part.mean()) for name, part in zip(("text", "structure", "types"), scores)}
        return parts if scores[-1].any() else {name: parts[name] for name in ("text", "structure")}

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The two parts (num_entities, d) of the vectors of all entities."""
        return self._vectors[:, : self.text.dim], self._vectors[:, self.text.dim :]

    @cached_property
    def _whole(self) -> Fusion:
        return Fusion.stored(self.index.column, self.settings | {"tables": self.index.metadata["tables"]})

    @cached_property
    def _fusion(self) -> Fusion:
        return self._whole.crop(self.structure_dim)

    @cached_property
    def _vectors(self) -> np.ndarray:
        """The vectors (num_entities, d) of all entities."""
        vectors, text_dim = self.index.vectors, self.index.metadata["text_dim"]
        if self.width is None and self.structure_width is None:
            return vectors
        structure = self._whole.crop_vectors(vectors[:, text_dim:], self.structure_dim)
        return np.concatenate([crop_vectors(vectors[:, :text_dim], self.width), structure], 1)
