"""A bi-encoder and its encoded entities: a `TripleScorer` like any other.

Entities are encoded once, queries once per distinct (entity, relation); what is left of a ranking is a
matrix product, of as many leading dimensions of both as a width has.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pmd.core.distributed import add_parts, rank, together, world_size
from pmd.core.types import TARGETS, Target
from pmd.data.graphs.answers import distinct, inverse_triples, query_keys
from pmd.data.texts.batches import chunks
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.models.families import check_width
from pmd.models.text.bi_encoder import BiEncoder, Role
from pmd.models.text.precision import HALF_FROM
from pmd.models.vectors import inner_products, leading_dimensions

PART = 2**18
"""Entities whose texts are composed at a time."""


@torch.no_grad()
def encode_texts(
    model: BiEncoder, role: Role, texts: Texts, pad: int, tokens: int = 4096, *, shared: bool = False
) -> Tensor:
    """Unit vectors (n, d) fp32 of texts, in eval mode, sorted by length on the way.

    With `shared` several processes, all of which must call it, take turns with the chunks, and all get all vectors.
    """
    if model.depth == 0:
        return bag_vectors(model, role, texts)
    was_training = model.training
    model.eval()
    process, processes = (rank(), world_size()) if shared else (0, 1)
    empty = torch.empty if processes == 1 else torch.zeros
    vectors = empty(len(texts), model.dim, device=model.device)
    with together() if processes > 1 else nullcontext():
        for chunk in islice(chunks(texts, pad, tokens), process, None, processes):
            chunk = chunk.to(model.device)
            # One chunk at a time: the order of the texts is restored by where each vector is written.
            hidden = model(role, chunk.input_ids, chunk.attention_mask, chunk.token_type_ids)[-1]
            vectors[chunk.rows] = model.pool(hidden, chunk.attention_mask, model.dim).float()
    model.train(was_training)
    return add_parts(vectors) if processes > 1 else vectors


@torch.no_grad()
def bag_vectors(model: BiEncoder, role: Role, texts: Texts) -> Tensor:
    """The same of a model without layers, which needs neither order nor padding."""
    columns = (texts.ids.flat, texts.ids.offsets[:-1], texts.second, texts.ids.lengths)
    moved = (torch.from_numpy(np.ascontiguousarray(column, dtype=np.int64)).to(model.device) for column in columns)
    return normalize(model.encoder(role).sums(*moved)[:, : model.dim], dim=-1)


class TextScorer:
    """Scores (cosines) of a bi-encoder on a graph.

    Args:
        model: the bi-encoder.
        text: the graph's texts, tokenised for it.
        entities: (num_entities, d) unit vectors, if they are at hand, perhaps in fp16; encoded here otherwise, on a CPU into
            a file in fp16 where they are many. Those of the model that this one was cropped from will do.
        tokens: tokens per chunk while encoding.
        width: score by so many leading dimensions unless asked otherwise; default all.
        shared: whether several processes share what is encoded here and by `prepare`, which all must then call alike.

    Raises:
        PmdError: for a width that the model does not have.

    Example:
        >>> scorer = pmd.load_scorer("runs/world-…/grade1", graph)  # a `TextScorer`
        >>> scorer.query_vectors(graph.test[:5], "head").shape == (5, scorer.model.dim)
        True
    """

    has_running_sums = False
    """Lengths depend on the width, so `rank_widths` ranks one width after the other."""

    device = torch.device("cpu")
    """Where triples are read."""

    def __init__(
        self,
        model: BiEncoder,
        text: GraphText,
        entities: Tensor | None = None,
        tokens: int = 16384,
        width: int | None = None,
        shared: bool = False,
    ):
        self.model, self.text, self.tokens, self.shared = model, text, tokens, shared
        self.num_entities, self.num_relations = text.num_entities, text.num_relations
        self.width = model.dim if width is None else width
        check_width(self.width, model.dim)
        if entities is None:
            entities = self._encode_entities()
        self.take_entities(entities)
        self._keys = np.empty(0, dtype=np.int64)
        self._queries = torch.empty(0, model.dim)

    def take_entities(self, entities: Tensor) -> None:
        """Score by these vectors of the `entities`, (num_entities, d)."""
        self.entities = entities
        self._candidates = entities  # of the width that was asked for last

    def prepare(self, triples: Tensor, targets: tuple[Target, ...] = TARGETS) -> None:
        """Encode the distinct queries of these triples (n, 3) for the `targets` now, all of them sorted by length, unless they
        are encoded."""
        self._prepare(np.concatenate([self._key(triples, target) for target in targets]), self.shared)

    def _prepare(self, keys: np.ndarray, shared: bool = False) -> None:
        """Encode the queries of these keys (n,), unless they are encoded."""
        keys = distinct(keys)
        is_new = not np.isin(keys, self._keys).all()
        if shared:  # all encode if one must
            is_new = bool(add_parts(torch.tensor([float(is_new)])))
        if not is_new:
            return
        relations_both_ways = 2 * self.text.num_relations
        texts = self.text.queries(keys // relations_both_ways, keys % relations_both_ways)
        self._keys, self._queries = keys, self.encode("query", texts, shared=shared)

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths that the model was trained at."""
        return self.model.widths

    def score_all(self, triples: Tensor, target: Target, width: int | None = None) -> Tensor:
        """Triples (b, 3) -> cosines (b, num_entities) of every entity as the `target` of each triple, by the leading
        `width` dimensions. PmdError for a width that the model does not have."""
        width = self.width if width is None else width
        check_width(width, self.model.dim)
        query = leading_dimensions(self.query_vectors(triples, target), width)
        if self.entities.dtype != query.dtype:
            return inner_products(query, self.entities)
        if self._candidates.shape[1] != width:
            self._candidates = leading_dimensions(self.entities, width)
        return query @ self._candidates.T

    def query_vectors(self, triples: Tensor, target: Target) -> Tensor:
        """Unit vectors (b, d) of the queries of triples (b, 3) for the `target`."""
        keys = self._key(triples, target)
        self._prepare(keys)
        rows = torch.from_numpy(np.searchsorted(self._keys, keys)).to(self._queries.device)
        return self._queries[rows]

    def encode(self, role: Role, texts: Texts, *, shared: bool = False) -> Tensor:
        """Unit vectors (n, d) fp32 of n texts in a `role`; of several processes each encodes a part if `shared`."""
        return encode_texts(self.model, role, texts, self.text.pad, self.tokens, shared=shared)

    def _encode_entities(self) -> Tensor:
        """Unit vectors (num_entities, d) of all entities."""
        count, shape = self.num_entities, (self.num_entities, self.model.dim)
        in_file = count * self.model.dim >= HALF_FROM and self.model.device.type == "cpu"
        if count <= PART and not in_file:
            return self.encode("entity", self.text.entities(np.arange(count)), shared=self.shared)
        if in_file:
            with tempfile.TemporaryFile() as file:  # stays until the vectors are not used any more
                vectors = torch.from_numpy(np.memmap(file, np.float16, "w+", shape=shape))
        else:
            vectors = torch.empty(shape, device=self.model.device)
        for start in range(0, count, PART):
            rows = np.arange(start, min(start + PART, count))
            vectors[start : rows[-1] + 1] = self.encode("entity", self.text.entities(rows), shared=self.shared)
        return vectors

    def _key(self, triples: Tensor, target: Target) -> np.ndarray:
        """A key (n,) for each query: head queries are tail queries of inverse relations."""
        asked = triples.cpu() if target == "tail" else inverse_triples(triples.cpu(), self.text.num_relations)
        return query_keys(asked, 2 * self.text.num_relations, "tail").numpy()


def timed_scorer(model: BiEncoder, text: GraphText) -> tuple[TextScorer, float]:
    """The scorer of a model, which all processes make together, and how many entities per second they encoded after warming
    up."""
    first_entities = text.entities(np.arange(min(512, text.num_entities)))
    float(encode_texts(model, "entity", first_entities, text.pad).sum())  # warms up
    began = time.perf_counter()
    scorer = TextScorer(model, text, shared=True)
    float(scorer.entities.sum())  # waits for the device
    return scorer, text.num_entities / (time.perf_counter() - began)
