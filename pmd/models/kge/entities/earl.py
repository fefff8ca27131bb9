"""EARL (Chen et al., AAAI 2023): vectors of entities by encoders that know none of them, but for a reserved few.

An entity's information is made of two things, by two layers: its connected relations (the mean over its triples of a row
for the relation at that end, through two layers), and its k nearest reserved entities (their rows, weighted by a softmax of
how much alike their relations are: the cosine of the counts of relations at either end, divided by 0.2). A reserved entity
has its row instead. A graph network then adds what the neighbours say, layer by layer:

h_e ← f(W_self h_e + 1/|N(e)| · (Σ W_in [r; h_n] over triples (n, r, e) + Σ W_out [r; h_n] over triples (e, r, n)))
r ← f(W_rel r)

with f = ReLU but in the last layer. Triples are scored with the r and h that come out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from pmd.core.errors import PmdError
from pmd.models.kge.entities.anchors import choose
from pmd.models.kge.entities.encoder import EntityEncoder, Sizes, rows, two_layers
from pmd.settings.entity_encoders import EarlConfig, Selection

SOFTNESS = 0.2
"""What cosines are divided by in the softmax over the nearest reserved entities."""
COMPARED = 2**24
"""Cosines that are held at a time."""


class Around(NamedTuple):
    """What stands around the entities of a graph, as sparse matrices whose rows are means over an entity's triples.

    `heads` and `tails` (num_entities, num_entities) are the neighbours that are heads and tails of its triples; `as_tail` and
    `as_head` (num_entities, num_relations) the relations of these; `ends` has the columns of `as_head`, then of `as_tail`.
    """

    heads: Tensor
    tails: Tensor
    as_tail: Tensor
    as_head: Tensor
    ends: Tensor


class GraphLayer(nn.Module):
    """One layer of the graph network, without f."""

    def __init__(self, entity: int, relation: int):
        super().__init__()
        self.of_itself = nn.Linear(entity, entity)
        self.incoming = nn.Linear(relation + entity, entity, bias=False)
        self.outgoing = nn.Linear(relation + entity, entity, bias=False)
        self.of_relations = nn.Linear(relation, relation)

    def forward(self, entities: Tensor, relations: Tensor, around: Around) -> Tensor:
        """Entities (n, entity) and relations (num_relations, relation) -> entities (n, entity)."""
        # A linear layer of a mean is the mean of the linear layer: no message of a single triple is held.
        arriving = [torch.sparse.mm(around.as_tail, relations), torch.sparse.mm(around.heads, entities)]
        leaving = [torch.sparse.mm(around.as_head, relations), torch.sparse.mm(around.tails, entities)]
        messages = self.incoming(torch.cat(arriving, 1)) + self.outgoing(torch.cat(leaving, 1))
        return self.of_itself(entities) + messages


class Earl(EntityEncoder):
    """Relations, similar reserved entities, and neighbours of an entity.

    Args:
        reserved: how many entities have rows of their own.
        selection, nearest, layers: as in `EarlConfig`.
        triples: how many the graph has.
    """

    def __init__(self, sizes: Sizes, reserved: int, selection: Selection, nearest: int, layers: int, triples: int):
        super().__init__(sizes)
        size, num_entities = sizes.entity, sizes.num_entities
        self.selection = selection
        self.reserved_rows = rows(reserved, size, sizes.scale)
        self.end_rows = rows(2 * sizes.num_relations, size, sizes.scale)
        self.of_ends, self.of_both = two_layers(size, size, size), two_layers(2 * size, size, size)
        self.layers = nn.ModuleList(GraphLayer(size, sizes.relation) for _ in range(layers))
        shapes = {"reserved": (reserved,), "nearest": (num_entities, nearest), "triples": (triples, 3)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("likeness", torch.zeros(num_entities, nearest))
        self._around: tuple[tuple[int, int], Around] | None = None

    @classmethod
    def options(cls, settings: EarlConfig, num_entities: int, num_triples: int) -> dict[str, Any]:
        reserved = max(1, int(settings.reserved * num_entities))
        if settings.nearest > reserved:
            raise PmdError(
                f"model.earl.nearest: {settings.nearest} of {reserved:,} reserved entities; choose fewer, or reserve more"
            )
        return {**vars(settings), "reserved": reserved, "triples": num_triples}

    def read_graph(self, triples: Tensor) -> None:
        sizes = self.sizes
        reserved = choose(self.selection, len(self.reserved), triples, sizes.num_entities)
        counts = torch.cat(relation_counts(triples, sizes.num_entities, sizes.num_relations), dim=1)
        likeness, nearest = most_alike(counts, reserved, self.nearest.shape[1])
        self.reserved.copy_(reserved)
        self.nearest.copy_(nearest)
        self.likeness.copy_(likeness)
        self.triples.copy_(triples)

    def encode(self, relations: Tensor) -> Tensor:
        around = self.around()
        weights = torch.softmax(self.likeness / SOFTNESS, dim=1)
        similar = (weights.unsqueeze(-1) * self.reserved_rows(self.nearest)).sum(1)
        connected = self.of_ends(torch.sparse.mm(around.ends, self.end_rows.weight))
        entities = self.of_both(torch.cat([similar, connected], dim=1))
        entities = entities.index_copy(0, self.reserved.long(), self.reserved_rows.weight)
        # Those of the triples; reciprocal relations have rows after them.
        for layer, known in zip(self.layers, self._by_layer(relations[: self.sizes.num_relations])):
            entities = self._activated(layer, layer(entities, known, around))
        return entities

    def relations(self, relations: Tensor) -> Tensor:
        return self._by_layer(relations)[-1]

    def _by_layer(self, relations: Tensor) -> list[Tensor]:
        """The relations that each layer reads, and those that come out of the last one."""
        read = [relations]
        for layer in self.layers:
            read.append(self._activated(layer, layer.of_relations(read[-1])))
        return read

    def _activated(self, layer: nn.Module, vectors: Tensor) -> Tensor:
        return vectors if layer is self.layers[-1] else relu(vectors)

    def around(self) -> Around:
        """What stands around the entities, made of the triples once, for they do not change."""
        state = self.triples.data_ptr(), self.triples._version
        if self._around is None or self._around[0] != state:
            self._around = state, surroundings(self.triples.long(), *self.sizes[:2])
        return self._around[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_around": None}


def surroundings(triples: Tensor, num_entities: int, num_relations: int) -> Around:
    """The matrices of a graph of these triples (n, 3)."""
    heads, relations, tails = triples.unbind(1)
    share = 1 / torch.bincount(torch.cat([heads, tails]), minlength=num_entities).clamp(min=1).float()

    def means(of: Tensor, columns: Tensor, width: int) -> Tensor:
        places, size = torch.stack([of, columns]), (num_entities, width)
        return torch.sparse_coo_tensor(places, share[of], size, check_invariants=False).coalesce()

    as_head, as_tail = means(heads, relations, num_relations), means(tails, relations, num_relations)
    ends = torch.cat([as_head, as_tail], dim=1).coalesce()
    return Around(means(tails, heads, num_entities), means(heads, tails, num_entities), as_tail, as_head, ends)


def relation_counts(triples: Tensor, num_entities: int, num_relations: int) -> tuple[Tensor, Tensor]:
    """(num_entities, num_relations) each: in how many triples of each relation an entity is the head, and the tail."""
    counts = []
    for entities in (triples[:, 0], triples[:, 2]):
        pairs = torch.bincount(entities * num_relations + triples[:, 1], minlength=num_entities * num_relations)
        counts.append(pairs.view(num_entities, num_relations).float())
    return counts[0], counts[1]


def most_alike(counts: Tensor, reserved: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k reserved entities whose counts of relations (num_entities, 2 · num_relations) are most like those of each
    entity: cosines (num_entities, k), the largest first, and positions in `reserved`."""
    lengths = normalize(counts, dim=1)
    step = max(1, COMPARED // len(reserved))
    best = [(part @ lengths[reserved].T).topk(k) for part in lengths.split(step)]
    return torch.cat([part.values for part in best]), torch.cat([part.indices for part in best])
