"""From training triples to padded, length-sorted chunks of distinct texts.

A batch holds triples in both directions, or examples of either direction; every distinct text of the batch is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from pmd.core.types import moved
from pmd.data.graphs.answers import distinct, inverse_triples
from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText
from pmd.data.texts.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Chunk:
    """c padded texts of similar length: token ids, attention mask and token types (c, L), and their `rows` (c,) in the batch;
    `states` (c, L, d) is what frozen lower layers made of them, where that was kept."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    rows: Tensor
    states: Tensor | None = None

    def to(self, device: torch.device) -> Chunk:
        return moved(self, device)

    def sample(self, share: float) -> Chunk:
        """A random share of the chunk's texts, at least one."""
        chosen = torch.randperm(len(self.rows), device=self.rows.device)[: max(1, round(share * len(self.rows)))]
        return self.take(chosen)

    def take(self, rows: Tensor) -> Chunk:
        """Some of the texts, with the padding of all."""
        parts = (getattr(self, field.name) for field in fields(self))
        return Chunk(*(None if part is None else part[rows] for part in parts))


def chunks(texts: Texts, pad: int, tokens: int, states: Tensor | None = None) -> Iterator[Chunk]:
    """Texts in order of falling length, in padded chunks of at most `tokens` tokens, or of a single longer text; `states`
    (m, d) are of all their tokens, one text after the other."""
    kept = None if states is None else Ragged(states.numpy(), texts.ids.offsets)
    lengths = texts.ids.lengths
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, tokens // longest)]
        start += len(rows)
        columns = np.arange(longest)
        real = columns < lengths[rows, None]
        ids = np.full(real.shape, pad, dtype=np.int64)
        ids[real] = texts.ids.take(rows).flat
        types = real & (columns >= texts.second[rows, None])
        arrays = (ids, real.astype(np.int64), types.astype(np.int64), rows.astype(np.int64))
        chunk = Chunk(*map(torch.from_numpy, arrays))
        if kept is not None:
            padded = np.zeros((*real.shape, kept.flat.shape[1]), dtype=kept.flat.dtype)
            padded[real] = kept.take(rows).flat
            chunk = replace(chunk, states=torch.from_numpy(padded))
        yield chunk


@dataclass(frozen=True, eq=False)
class TripleBatch:
    """A batch of b examples: triples in both directions, over distinct texts of queries and entities.

    `examples` (b, 3) holds (head, relation, tail), with inverse relations numbered from num_relations on. For each example,
    `query` (b,) is its text among the queries, `entity` (b,) that of its answer among the entities, and `head` (b,) that of
    its own head among the entities. `confidences` (b,) are those of their triples, None for even ones. A teacher with a tokenizer
    of its own reads `teacher_queries` and `teacher_entities`, the same texts in the same order. `teacher_vectors` is what the
    teacher made of the queries and of the entities, where it was asked before.
    """

    queries: list[Chunk]
    entities: list[Chunk]
    examples: Tensor
    query: Tensor
    entity: Tensor
    head: Tensor
    confidences: Tensor | None = None
    teacher_queries: list[Chunk] | None = None
    teacher_entities: list[Chunk] | None = None
    teacher_vectors: list[Tensor] | None = None

    def to(self, device: torch.device) -> TripleBatch:
        return moved(self, device)

    @property
    def for_teacher(self) -> TripleBatch:
        """The batch as its teacher reads it: in its own tokens, where it has others."""
        if self.teacher_queries is None:
            return self
        return replace(self, queries=self.teacher_queries, entities=self.teacher_entities)


class TripleCollator:
    """Positions -> `TripleBatch`.

    With `shared` directions n positions of training triples make b = 2n examples. Otherwise, as in SimKGC, there are twice as
    many positions as triples, in their own direction and then inverse, and each is one example: b = n.

    Args:
        triples: training triples (m, 3).
        confidences: (m,) of the triples.
        teacher_text: the graph in the tokens of a teacher with another tokenizer, read with the same names of neighbours.
            Where there are `teacher_vectors`, it is not read.
    """

    teacher_vectors: Sequence[Callable[[np.ndarray], Tensor]] | None = None
    """Of queries and of entities: keys, as `distinct_texts` gives them, to what a teacher made of the texts."""

    lower_states: Sequence[Callable[[np.ndarray], Tensor]] | None = None
    """Likewise what frozen lower layers made of all their tokens."""

    def __init__(
        self,
        triples: Tensor,
        text: GraphText,
        tokens_per_chunk: int,
        confidences: Tensor | None = None,
        *,
        shared: bool = True,
        teacher_text: GraphText | None = None,
    ):
        self.teacher_text = teacher_text
        self.text, self.tokens, self.confidences, self.shared = text, tokens_per_chunk, confidences, shared
        self.triples, self.num_triples = triples.numpy(), len(triples)

    def __len__(self) -> int:
        """How many positions there are."""
        return self.num_triples if self.shared else 2 * self.num_triples

    def __call__(self, positions: list[int]) -> TripleBatch:
        chosen, text = np.asarray(positions), self.text
        if self.shared:
            chosen = np.concatenate([chosen, chosen + self.num_triples])
        examples, head_rows, answer_rows = self._examples(chosen)
        # Of shared directions the heads are the answers of the other direction: they are no further texts.
        rows, places = np.unique(np.concatenate([answer_rows, head_rows]), return_inverse=True)
        entity, head = np.split(places, 2)
        keys, query = np.unique(self._query_keys(head_rows, examples), return_inverse=True)
        states = (
            (None, None)
            if self.lower_states is None
            else [kept(part) for kept, part in zip(self.lower_states, (keys, rows))]
        )
        queries, entities = self._read(text, keys, rows, *states)
        teacher, vectors = self.teacher_text, None
        if self.teacher_vectors is not None:
            teacher, vectors = None, [look_up(part) for look_up, part in zip(self.teacher_vectors, (keys, rows))]
        theirs = (None, None) if teacher is None else self._read(teacher, keys, rows)
        return TripleBatch(
            queries=queries,
            entities=entities,
            examples=torch.from_numpy(examples),
            query=torch.from_numpy(query),
            entity=torch.from_numpy(entity),
            head=torch.from_numpy(head),
            confidences=None if self.confidences is None else self.confidences[chosen % self.num_triples],
            teacher_queries=theirs[0],
            teacher_entities=theirs[1],
            teacher_vectors=vectors,
        )

    def share(self, positions: list[int], process: int, processes: int) -> TripleBatch:
        """The whole batch, whose texts the processes read together (`pmd.distill.shared_reading`)."""
        return self(positions)

    def distinct_texts(self) -> tuple[np.ndarray, np.ndarray]:
        """The keys of all distinct queries that batches are made of, and the rows of all distinct entities, ascending."""
        examples, head_rows, answer_rows = self._examples(np.arange(2 * self.num_triples))
        keys = distinct(self._query_keys(head_rows, examples))
        return keys, distinct(np.concatenate([answer_rows, head_rows]))

    def query_keys(self) -> np.ndarray:
        """The keys (2m,) of the queries of all triples in their own direction, and then inverse."""
        examples, head_rows, _ = self._examples(np.arange(2 * self.num_triples))
        return self._query_keys(head_rows, examples)

    def queries_of(self, text: GraphText) -> Callable[[np.ndarray], Texts]:
        """Keys of queries to their texts in the tokens of `text`."""
        return lambda keys: text.queries(*np.divmod(keys, 2 * text.num_relations))

    def _examples(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The examples (b, 3) at positions (b,) among all triples and then all inverse ones, and the rows (b,) of the texts of
        their heads and of their answers."""
        examples, inverse = self.triples[positions % self.num_triples], positions >= self.num_triples
        examples[inverse] = inverse_triples(examples[inverse], self.text.num_relations)
        heads, answers = examples[:, 0], examples[:, 2]
        return examples, self.text.rows_of(heads, answers), self.text.rows_of(answers, heads)

    def _query_keys(self, head_rows: np.ndarray, examples: np.ndarray) -> np.ndarray:
        return head_rows * (2 * self.text.num_relations) + examples[:, 1]

    def _read(
        self, text: GraphText, keys: np.ndarray, rows: np.ndarray, *states: Tensor | None
    ) -> tuple[list[Chunk], list[Chunk]]:
        """The chunks of queries, by their keys, and of entities, by their rows, with the states of either."""
        texts = self.queries_of(text)(keys), text.entities(rows)
        return tuple(
            list(chunks(part, text.pad, self.tokens, kept)) for part, kept in zip(texts, states or (None, None))
        )
