"""From training triples to padded, length-sorted chunks of distinct texts.

A triple and its inverse are in the same batch, so that the text of a tail also serves as that of the
inverse query's head (its self-negative), and every distinct text of the batch is encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from pmd.data.texts.compose import Texts
from pmd.data.texts.graph_text import GraphText


@dataclass(frozen=True, eq=False)
class Chunk:
    """Padded texts of similar length: ids, mask, types (c, L); `rows` (c,) their places in the batch."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> Chunk:
        return Chunk(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def sample(self, share: float) -> Chunk:
        """A random share of the chunk's texts, one at least."""
        chosen = torch.randperm(len(self.rows), device=self.rows.device)[: max(1, round(share * len(self.rows)))]
        return Chunk(*(getattr(self, f.name)[chosen] for f in fields(self)))


def chunks(texts: Texts, pad: int, tokens: int) -> Iterator[Chunk]:
    """Texts sorted by falling length and cut into padded chunks of about `tokens` tokens each."""
    lengths = texts.ids.lengths
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, tokens // longest)]
        start += len(rows)
        there = np.arange(longest)
        real = there < lengths[rows, None]
        ids = np.full(real.shape, pad, dtype=np.int64)
        ids[real] = texts.ids.take(rows).flat
        types = real & (there >= texts.second[rows, None])
        arrays = (ids, real.astype(np.int64), types.astype(np.int64), rows.astype(np.int64))
        yield Chunk(*map(torch.from_numpy, arrays))


@dataclass(frozen=True, eq=False)
class TripleBatch:
    """A batch of b examples: triples in both directions over distinct queries and entities.

    `examples` (b, 3) holds (head, relation, tail) with inverse relations numbered from num_relations.
    `query` (b,), `entity` (b,) and `own` (b,) say which distinct query is asked, which distinct entity text
    is its answer, and which is that of its own head.
    """

    queries: list[Chunk]
    entities: list[Chunk]
    examples: Tensor
    query: Tensor
    entity: Tensor
    own: Tensor
    num_queries: int
    num_entities: int

    def to(self, device: torch.device) -> TripleBatch:
        moved = {
            name: getattr(self, name).to(device, non_blocking=True) for name in ("examples", "query", "entity", "own")
        }
        return replace(
            self,
            queries=[chunk.to(device) for chunk in self.queries],
            entities=[chunk.to(device) for chunk in self.entities],
            **moved,
        )


class TripleCollator:
    """Positions of training triples (n,) -> `TripleBatch` of b = 2n examples."""

    def __init__(self, triples: Tensor, text: GraphText, tokens_per_chunk: int):
        self.triples, self.text, self.tokens = triples.numpy(), text, tokens_per_chunk

    def __call__(self, positions: list[int]) -> TripleBatch:
        at = np.asarray(positions)
        triples, text = self.triples[at], self.text
        heads, tails = text.head_rows[at], text.tail_rows[at]
        inverse = np.stack([triples[:, 2], triples[:, 1] + text.num_relations, triples[:, 0]], axis=1)
        examples = np.concatenate([triples, inverse])
        own_rows, answer_rows = np.concatenate([heads, tails]), np.concatenate([tails, heads])
        rows, entity = np.unique(answer_rows, return_inverse=True)
        keys, query = np.unique(own_rows * (2 * text.num_relations) + examples[:, 1], return_inverse=True)
        queries = text.queries(keys // (2 * text.num_relations), keys % (2 * text.num_relations))
        return TripleBatch(
            queries=list(chunks(queries, text.pad, self.tokens)),
            entities=list(chunks(text.entities(rows), text.pad, self.tokens)),
            examples=torch.from_numpy(examples),
            query=torch.from_numpy(query),
            entity=torch.from_numpy(entity),
            # The heads of one direction are the tails of the other: the same texts, the halves swapped.
            own=torch.from_numpy(np.roll(entity, len(at))),
            num_queries=len(keys),
            num_entities=len(rows),
        )
