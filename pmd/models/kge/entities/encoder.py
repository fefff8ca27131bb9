"""What computes the vectors of entities from few parameters, in the place of a table of them.

An encoder is built from its options, which stand in the model's config.json, and from `Sizes`; `read_graph` then fills its
buffers, integers such as the nearest anchors of an entity, from the triples of training. Both are saved with the model,
so that a loaded one needs no graph.

Example: of a NodePiece encoder of width 2 with the anchors a = (1, 0) and b = (0, 1), k = 2, no relations and the mean,
every entity that reaches both has the vector (0.5, 0.5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pmd.models.kge.kernels import read_rows
from pmd.settings.catalogue import ENTITY_ENCODERS, lookup

Config = TypeVar("Config")


class Sizes(NamedTuple):
    """How many entities and relations a model has, how many numbers each of their vectors, and the scale of the first ones."""

    num_entities: int
    num_relations: int
    entity: int
    relation: int
    scale: float


class EntityEncoder(nn.Module, ABC):
    """Computes the vectors of all entities; `sizes` are those of the model."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self._computed: tuple[Any, Tensor] | None = None

    @classmethod
    @abstractmethod
    def options(cls, settings: Any, num_entities: int, num_triples: int) -> dict[str, Any]:
        """The arguments of `__init__` after `sizes`, as JSON, for a graph of so many entities and training triples.
        PmdError for settings that do not fit it."""

    @abstractmethod
    def read_graph(self, triples: Tensor) -> None:
        """Fill the buffers from the triples (n, 3) of training. Random choices take torch's generator."""

    @abstractmethod
    def encode(self, relations: Tensor) -> Tensor:
        """The vectors (num_entities, entity) of all entities; `relations` is the model's table of relations."""

    def relations(self, relations: Tensor) -> Tensor:
        """The relations' vectors that triples are scored with."""
        return relations

    def entities(self, relations: Tensor) -> Tensor:
        """As `encode`, computed once until a parameter changes or a gradient has passed through.

        So a ranking computes all vectors once, and so does a training step, however often it reads them.
        """
        state = torch.is_grad_enabled(), *((p.data_ptr(), p._version) for p in (relations, *self.parameters()))
        if self._computed is None or self._computed[0] != state:
            with torch.autocast(relations.device.type, enabled=False):
                vectors = self.encode(relations)
            if vectors.requires_grad:
                vectors.register_hook(self._forget)
            self._computed = state, vectors
        return self._computed[1]

    def read(self, relations: Tensor, *ids: Tensor) -> list[Tensor]:
        """The vectors (…, entity) of entities, integers (…) each."""
        return [*read_rows(self.entities(relations), *ids)]

    def _forget(self, gradient: Tensor) -> None:
        """What a gradient has passed through cannot be used again."""
        self._computed = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_computed": None}


def make_encoder(options: Mapping[str, Any], sizes: Sizes) -> EntityEncoder:
    """The encoder of these options; `name` is its row in the catalogue. PmdError if there is none."""
    kind = lookup(ENTITY_ENCODERS, options["name"], "entity_encoder").load_class()
    return kind(sizes, **{key: value for key, value in options.items() if key != "name"})


def rows(count: int, size: int, scale: float) -> nn.Embedding:
    """A table whose numbers are drawn evenly from ±scale, as the entities of a model are."""
    table = nn.Embedding(count, size)
    nn.init.uniform_(table.weight, -scale, scale)
    return table


def two_layers(given: int, hidden: int, size: int) -> nn.Sequential:
    """(…, given) -> (…, size), by so many hidden numbers."""
    return nn.Sequential(nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, size))
