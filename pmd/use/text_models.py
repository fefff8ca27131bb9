"""Text models that answer questions and can be cropped: without torch where the encoder is a BERT
(`pmd.models.text.numpy_bert`). Writing their part of an index, the encoded entities, needs torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pmd.core.bars import Bar
from pmd.core.errors import PmdError
from pmd.core.files import reserve
from pmd.data.texts.compose import TokenTexts
from pmd.data.texts.ragged import Ragged
from pmd.models.families import check_width, width_of
from pmd.models.text.numpy_bag import NumpyBag, is_bag
from pmd.models.text.numpy_bert import NumpyBert, can_read
from pmd.models.text.precision import HALF_FROM, CodedVectors, coded
from pmd.settings.shared import Search
from pmd.settings.shrink import Vectors
from pmd.trust.sides import refuse_nan
from pmd.trust.types import Mode
from pmd.use.answer_records import Question
from pmd.use.answers import TrainedModel
from pmd.use.earlier import EarlierTexts
from pmd.use.index import Columns, Index, crop_vectors, products, ragged_columns
from pmd.use.search import SHORT_LIST, Cells, Funnel, ShortList, leading_of

if TYPE_CHECKING:
    from torch import Tensor

    from pmd.data.graphs.graph import KnowledgeGraph
    from pmd.data.texts.graph_text import GraphText
    from pmd.models.text.bi_encoder import BiEncoder

ENTITIES_PER_STEP = 2048
"""Entities that are encoded between two steps of the progress bar."""


def open_model(folder: Path, settings: dict[str, Any], open_index: Callable[[], Index]) -> TrainedText:
    """The model of a folder."""
    return TrainedText(folder, settings, open_index)


def write_part(
    index: Path, model: Path, graph: KnowledgeGraph, cache: str | None = None, earlier: Index | None = None
) -> tuple[dict[str, Any], Columns]:
    """Write vectors.npy into the folder of a new index; the metadata and columns that only the index of a text has. Vectors of
    texts that an `earlier` index of the same encoders has are taken from there."""
    from pmd.core.devices import best_device
    from pmd.models.text.folder import load_model, stored_codes, stored_entities, stored_precision

    text_model, kind = load_model(model), stored_precision(model).get("vectors", "fp32")
    encoder = text_model.model.to(best_device())
    # The centre of binary codes is the mean of all vectors, and that of the earlier ones is another.
    before = EarlierTexts.of(earlier) if earlier is not None and kind != "binary" else None
    text = text_model.read(graph, cache, before)
    if kind == "fp32":
        write_vectors(index / "vectors.npy", encoder, text, stored_entities(model, graph), before)
        beside = {}
    else:
        beside = write_codes(index / "vectors.npy", encoder, text, stored_codes(model, graph), kind, before)
    metadata = {"dim": encoder.dim, "frame": asdict(text.frame), "pad": text.pad, "max_length": text.max_length}
    entity_tokens = text.rows.take(np.arange(text.num_entities))  # names of neighbours included
    tokens = ragged_columns("tokens", entity_tokens) | ragged_columns("relation_tokens", text.relations)
    return metadata, tokens | beside


def crop_part(index: Index, folder: Path, model: Path, width: int) -> tuple[dict[str, Any], Columns]:
    """Write the first `width` dimensions of the vectors of an index into the folder of another; its metadata."""
    np.save(folder / "vectors.npy", crop_vectors(index.vectors, width))
    return {"dim": width}, {}


def write_vectors(
    file: Path, model: BiEncoder, text: GraphText, stored: Tensor | None, earlier: EarlierTexts | None = None
) -> None:
    """Write the vectors (num_entities, d) of all entities as fp32, or as fp16 where they are many.

    `stored` are vectors from the model's folder: they are taken if a sample of entities, encoded again, has the same. So are
    those of `earlier` texts, for the entities whose tokens are the same.
    """
    import torch

    from pmd.models.text.scorer import encode_texts

    shape = text.num_entities, model.dim
    kind = np.float16 if shape[0] * shape[1] >= HALF_FROM else np.float32
    vectors = np.lib.format.open_memmap(file, "w+", dtype=kind, shape=shape)
    reserve(file)
    longest_first = np.argsort(-text.rows.lengths, kind="stable")
    if stored is not None and stored.shape == vectors.shape:
        sample = longest_first[:: max(1, len(longest_first) // 8)]
        encoded = encode_texts(model, "entity", text.entities(sample), text.pad).cpu()
        if torch.allclose(encoded, stored[sample].float(), atol=1e-3):
            vectors[:] = stored.numpy()
            vectors.flush()
            return
    fill_vectors(vectors, model, text, earlier)
    vectors.flush()


def fill_vectors(vectors: np.ndarray, model: BiEncoder, text: GraphText, earlier: EarlierTexts | None = None) -> None:
    """Fill in the vectors (num_entities, d) of all entities: of `earlier` texts where their tokens are the same, else encoded."""
    from pmd.models.text.scorer import encode_texts

    longest_first = np.argsort(-text.rows.lengths, kind="stable")
    known = np.full(len(vectors), -1) if earlier is None else earlier.rows_of(text)
    if earlier is not None:
        vectors[known >= 0] = earlier.vectors[known[known >= 0]]
    to_encode = longest_first[known[longest_first] < 0]
    of_all = "" if len(to_encode) == len(vectors) else f" of {len(vectors):,}"
    print(f"encoding {len(to_encode):,}{of_all} entities, once for this model and graph", file=sys.stderr)
    bar = Bar(len(to_encode), 0, "encoding", shown=True, unit="entities")
    with bar:
        for start in range(0, len(to_encode), ENTITIES_PER_STEP):
            rows = to_encode[start : start + ENTITIES_PER_STEP]
            vectors[rows] = encode_texts(model, "entity", text.entities(rows), text.pad).cpu().numpy()
            bar.count(start + len(rows))


def write_codes(
    file: Path,
    model: BiEncoder,
    text: GraphText,
    stored: CodedVectors | None,
    kind: Vectors,
    earlier: EarlierTexts | None = None,
) -> Columns:
    """Write the vectors of all entities in codes, by default those of their encodings; what belongs to them, as columns."""
    if stored is None:
        write_vectors(file, model, text, None, earlier)
        stored = coded(np.load(file).astype(np.float32, copy=False), kind)
    np.save(file, stored.codes)
    return {f"vector_{name}": column for name, column in stored.columns.items()}


@dataclass(frozen=True, eq=False, repr=False)
class TrainedText(TrainedModel):
    """A text model that answers questions.

    Args:
        folder: of the model.
        settings: its config.json.
        open_index: opens the index of its graph, which questions need.
        width: it compares so many leading dimensions of its vectors; None for all.
        search: answers are looked for among all entities (`exact`), or on a short list (`funnel`, `faiss`; `pmd.use.search`).
    """

    folder: Path
    settings: dict[str, Any]
    open_index: Callable[[], Index] | None = None
    width: int | None = None
    search: Search = "exact"

    @property
    def dim(self) -> int:
        """The width of the vectors that are compared."""
        return self.width or width_of(self.settings)

    @property
    def widths(self) -> tuple[int, ...]:
        """The trained widths, in dimensions, increasing; the last one is the model's own."""
        return (*(width for width in self.settings.get("widths") or () if width < self.dim), self.dim)

    @cached_property
    def logit_scale(self) -> float:
        """The inverse of the temperature that the model was trained at."""
        from safetensors import safe_open

        with safe_open(self.folder / "model.safetensors", "numpy") as weights:
            return float(np.exp(weights.get_tensor("log_inverse_temperature").astype(np.float64)))

    @property
    def is_whole(self) -> bool:
        return self.dim == width_of(self.settings)

    def crop(self, width: int) -> TrainedText:
        """The same model, answering by the leading `width` dimensions. PmdError if it does not have so many."""
        check_width(width, self.dim)
        return replace(self, width=width)

    def searching(self, search: Search) -> TrainedText:
        """The same model, which looks for answers by another `search`. PmdError if it cannot."""
        if search == "funnel":
            leading_of(self.widths)
        if search == "faiss" and not self.is_whole:
            raise PmdError(
                "search: faiss has an index of whole vectors; crop the model (pmd crop), or leave --width out"
            )
        return replace(self, search=search)

    @cached_property
    def _short_list(self) -> ShortList:
        vectors = self.index.stored_vectors
        if self.search == "faiss":
            return Cells(vectors, self.index.folder / "cells.faiss")
        return Funnel(vectors, leading_of(self.widths))

    def scores(self, questions: Sequence[Question]) -> np.ndarray:
        """The cosines (b, num_entities) of all entities as answers to the questions (b), whatever the search, so that verdicts on triples
        do not depend on it."""
        queries = crop_vectors(self.queries(questions), self.width)
        return (
            products(queries, self.index.stored_vectors, self.width) if self._is_half else queries @ self._candidates.T
        )

    def candidates(self, questions: Sequence[Question], types: Mode) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if self.search == "exact":
            yield from super().candidates(questions, types)
            return
        queries = crop_vectors(self.queries(questions), self.width)
        refuse_nan(queries)  # near which faiss finds nothing
        for question, query, rows in zip(questions, queries, self._short_list.rows(queries, SHORT_LIST)):
            entities = np.union1d(rows, self.known_answers(question)[0])
            scores = np.where(np.isin(entities, rows), self.unit_vectors(entities) @ query, np.float32(-np.inf))
            yield entities, self.after_types(scores[None], [question], types, entities)[0]

    def unit_vectors(self, entities: np.ndarray) -> np.ndarray:
        if self._is_half:
            return crop_vectors(self.index.stored_vectors[entities].astype(np.float32), self.width)
        return self._candidates[entities]

    @property
    def _is_half(self) -> bool:
        """Whether the vectors stay on disk in fp16: fewer are decoded once."""
        stored = self.index.stored_vectors
        return stored.dtype == np.float16 and stored.size >= HALF_FROM

    def queries(self, questions: Sequence[Question]) -> np.ndarray:
        """The vectors (b, d) of the questions (b), of length 1."""
        inverse = self.index.num_relations
        relations = np.array([question.relation + inverse * (question.target == "head") for question in questions])
        vectors = np.empty((len(questions), width_of(self.settings)), dtype=np.float32)
        of_graph = [row for row, question in enumerate(questions) if question.text is None]
        if of_graph:
            entities = np.array([questions[row].entity for row in of_graph])
            vectors[of_graph] = self._encode(self.index.texts.queries(entities, relations[of_graph]))
        for row, question in enumerate(questions):
            if question.text is not None:
                described = self._described(question.text)
                vectors[row] = self._encode(described.queries(np.array([0]), relations[row : row + 1]))[0]
        return vectors

    def _described(self, text: str) -> TokenTexts:
        """Texts with a single entity: one without a name, which has this description."""
        texts = self.index.texts
        ids = self._tokenizer.encode(texts.frame.lead + text, add_special_tokens=False).ids[: texts.room]
        return TokenTexts(Ragged.from_rows([ids]), texts.relations, texts.frame, texts.max_length)

    @cached_property
    def _candidates(self) -> np.ndarray:
        return crop_vectors(self.index.vectors, self.width)

    @cached_property
    def _tokenizer(self):
        from tokenizers import Tokenizer

        file = self.folder / "tokenizer.json"
        if not file.is_file():
            raise PmdError(f"text: '{self.folder}' has no tokenizer.json; save its tokenizer there")
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _encode(self) -> Callable[..., np.ndarray]:
        """What encodes texts: NumPy where the encoder is a BERT or has no layers, otherwise the model itself."""
        if is_bag(self.settings):
            return NumpyBag(self.folder, self.settings).vectors
        if can_read(self.folder, self.settings):
            return NumpyBert(self.folder, self.settings).vectors
        from pmd.models.text.folder import load_model
        from pmd.models.text.scorer import encode_texts

        model = load_model(self.folder).model
        return lambda texts: encode_texts(model, "query", texts, self.index.metadata["pad"]).numpy()
