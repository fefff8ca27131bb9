"""NodePiece (Galkin et al., ICLR 2022): the vector of an entity is made of those of its tokens.

Its tokens are its k nearest anchors, each with a row for how far away it is, and m of its relations, incoming ones apart
from outgoing ones; an encoder makes a vector of them. Where an entity has fewer anchors or relations, a row of its own
stands for what is missing. Relations have rows here beside those that triples are scored with, whose sizes differ (RotatE's
are phases).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.models.kge.entities.anchors import choose, nearest_anchors
from pmd.models.kge.entities.encoder import EntityEncoder, Sizes, rows, two_layers
from pmd.settings.entity_encoders import NodePieceConfig, Selection

FAR = 10
"""Larger distances are as large as this."""
MISSING = FAR + 1
"""The row of distances of an anchor that is missing."""


class NodePiece(EntityEncoder):
    """Anchors, distances and relations of an entity, by two layers or as their mean.

    Args:
        anchors, selection, nearest, relations, distances, aggregation: as in `NodePieceConfig`.
    """

    def __init__(
        self,
        sizes: Sizes,
        anchors: int,
        selection: Selection,
        nearest: int,
        relations: int,
        distances: bool,
        aggregation: str,
    ):
        super().__init__(sizes)
        self.selection = selection
        self.anchor_rows = rows(anchors + 1, sizes.entity, sizes.scale)
        self.distance_rows = rows(MISSING + 1, sizes.entity, sizes.scale) if distances else None
        self.relation_rows = rows(2 * sizes.num_relations + 1, sizes.entity, sizes.scale) if relations else None
        self.mlp = (
            two_layers((nearest + relations) * sizes.entity, 2 * sizes.entity, sizes.entity)
            if aggregation == "mlp"
            else None
        )
        shape = {"anchors": (anchors,), "nearest": (sizes.num_entities, nearest)}
        shape |= {"distances": (sizes.num_entities, nearest), "context": (sizes.num_entities, relations)}
        for name, size in shape.items():
            self.register_buffer(name, torch.zeros(size, dtype=torch.int32))

    @classmethod
    def options(cls, settings: NodePieceConfig, num_entities: int, num_triples: int) -> dict[str, Any]:
        if settings.anchors > num_entities:
            raise PmdError(f"model.nodepiece.anchors: {settings.anchors:,} of {num_entities:,} entities; choose fewer")
        return dict(vars(settings))

    def read_graph(self, triples: Tensor) -> None:
        num_entities, count = self.sizes.num_entities, len(self.anchors)
        anchors = choose(self.selection, count, triples, num_entities)
        nearest, distances = nearest_anchors(anchors, triples, num_entities, self.nearest.shape[1])
        self.anchors.copy_(anchors)
        self.nearest.copy_(nearest)
        self.distances.copy_(torch.where(distances < 0, MISSING, distances.clamp(max=FAR)))
        self.context.copy_(some_relations(triples, num_entities, self.sizes.num_relations, self.context.shape[1]))

    def encode(self, relations: Tensor) -> Tensor:
        return self._vectors(self.nearest, self.distances, self.context)

    def read(self, relations: Tensor, *ids: Tensor) -> list[Tensor]:
        # A step on a large graph reads few of its entities.
        if not torch.is_grad_enabled() or sum(part.numel() for part in ids) >= self.sizes.num_entities:
            return super().read(relations, *ids)
        few, places = torch.cat([part.flatten() for part in ids]).unique(return_inverse=True)
        vectors = self._vectors(self.nearest[few], self.distances[few], self.context[few]).to(relations.dtype)
        parts = places.split([part.numel() for part in ids])
        return [vectors[part].unflatten(0, given.shape) for part, given in zip(parts, ids)]

    def _vectors(self, nearest: Tensor, distances: Tensor, context: Tensor) -> Tensor:
        """Positions of anchors (n, k), distances (n, k) and relations (n, m) -> (n, entity)."""
        tokens = self.anchor_rows(nearest)
        if self.distance_rows is not None:
            tokens = tokens + self.distance_rows(distances)
        if self.relation_rows is not None:
            tokens = torch.cat([tokens, self.relation_rows(context)], dim=1)  # (n, k + m, entity)
        return tokens.mean(1) if self.mlp is None else self.mlp(tokens.flatten(1))


def some_relations(triples: Tensor, num_entities: int, num_relations: int, m: int) -> Tensor:
    """(num_entities, m) of the relations of every entity m at random, none twice: r of its triples as a head, num_relations
    + r as a tail; 2 · num_relations where it has no further one."""
    heads, relations, tails = triples.unbind(1)
    pairs = torch.cat([torch.stack([heads, relations], 1), torch.stack([tails, relations + num_relations], 1)])
    pairs = pairs.unique(dim=0)
    pairs = pairs[torch.randperm(len(pairs))]
    pairs = pairs[pairs[:, 0].argsort(stable=True)]
    first = torch.searchsorted(pairs[:, 0].contiguous(), torch.arange(num_entities))
    places = torch.arange(len(pairs)) - first[pairs[:, 0]]
    chosen = torch.full((num_entities, m), 2 * num_relations)
    kept = places < m
    chosen[pairs[kept, 0], places[kept]] = pairs[kept, 1]
    return chosen
