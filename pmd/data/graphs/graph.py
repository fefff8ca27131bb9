"""`KnowledgeGraph`: triples as integers, and the names and descriptions of what they mention.

All sources (`pmd.data.graphs.sources`) end here and everything else starts here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.data.graphs.to_frames import ToFrames
from pmd.data.texts.ragged import row_blocks


@dataclass(frozen=True, eq=False, repr=False)
class KnowledgeGraph(ToFrames):
    """A knowledge graph with texts and fixed splits.

    `train`, `valid` and `test` are int64 tensors (n, 3) of positions of head, relation and tail in the lists of ids.
    Inverse relations are not stored: to ask for the head, use `target="head"`.

    Args:
        name: what tables and run folders call it.
        entity_ids, entity_names, entity_descriptions: a text for each entity, in one order.
        relation_ids, relation_names: a text for each relation, in one order.
        train, valid, test: the splits, int64 (n, 3).
        splits: further splits by name, such as `inductive_train`.
        negatives: by split, triples (n, 3) that are known to be false.
        weights: by split, a confidence for each of its triples, float32 (n,).
        aliases: by entity id, further names.
        types: by entity id, its types, such as `Gene`.
        notes: what the reader understood or left out, a sentence each.

    Example:
        >>> graph = pmd.load_graph("world")
        >>> head, relation, tail = graph.train[0].tolist()
        >>> graph.entity_ids[head], graph.relation_names[relation], graph.entity_names[tail]
        ('currency:ADP', 'currency replaced by', 'Euro')
        >>> len(graph.visible_triples("test")) < len(graph.known_triples("test"))
        True
    """

    name: str
    entity_ids: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_ids: Sequence[str]
    relation_names: Sequence[str]
    train: Tensor
    valid: Tensor
    test: Tensor
    splits: Mapping[str, Tensor] = field(default_factory=dict)
    negatives: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    types: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"KnowledgeGraph({self.name}: {self.sizes})"

    @property
    def sizes(self) -> str:
        """`1,887 entities, 15 relations, 3,793 / 192 / 485 triples`, those of every split."""
        triples = " / ".join(f"{len(self.split(split)):,}" for split in self.split_names)
        return f"{self.num_entities:,} entities, {self.num_relations:,} relations, {triples} triples"

    @property
    def num_entities(self) -> int:
        """How many entities."""
        return len(self.entity_ids)

    @property
    def num_relations(self) -> int:
        """How many relations, inverse ones not counted."""
        return len(self.relation_ids)

    @property
    def split_names(self) -> list[str]:
        """The names of all splits."""
        return ["train", "valid", "test", *self.splits]

    def split(self, name: str) -> Tensor:
        """The triples (n, 3) of a split, by `name`. PmdError if there is none."""
        if name in ("train", "valid", "test"):
            return getattr(self, name)
        if name in self.splits:
            return self.splits[name]
        raise PmdError(f"graph '{self.name}' has no split '{name}'; it has {', '.join(self.split_names)}")

    def context_of(self, split: str) -> list[str]:
        """The names of the splits of the graph that `split` belongs to.

        An inductive data set holds two graphs without a common entity: the splits named `inductive_*` are one, `train`,
        `valid` and `test` the other.
        """
        inductive = split.startswith("inductive_")
        return [name for name in self.split_names if name.startswith("inductive_") == inductive]

    def known_triples(self, split: str = "test") -> Tensor:
        """All triples (n, 3) of the graph that `split` belongs to, whose answers a filtered rank leaves out."""
        return torch.cat([self.split(name) for name in self.context_of(split)])

    def visible_triples(self, split: str = "test") -> Tensor:
        """The triples (n, 3) that a model may see when it is tested on `split` (neighbours, re-ranking)."""
        return self.split("inductive_train" if split.startswith("inductive_") else "train")

    def candidates(self, split: str = "test") -> Tensor | None:
        """Sorted positions (c,) of the entities that queries of `split` are ranked among; None for all.

        Each of the two graphs of an inductive data set ranks among its own entities.
        """
        if not any(name.startswith("inductive_") for name in self.splits):
            return None
        return torch.unique(self.known_triples(split)[:, [0, 2]])

    def checksum(self, *, types: bool = True) -> str:
        """SHA-256 of ids, texts, triples, their weights and `types`, by which caches and indexes recognise the graph. Older versions
        left out the types."""
        digest = hashlib.sha256()
        entities = (self.entity_ids, self.entity_names, self.entity_descriptions)
        for column in (*entities, self.relation_ids, self.relation_names):
            for part in row_blocks(len(column)):
                digest.update("".join(f"{text}\0" for text in column[part]).encode())
            digest.update(b"\1")
        for name in self.split_names:
            digest.update(name.encode())
            digest.update(self.split(name).to(torch.int64).contiguous().numpy().tobytes())
        for name, weights in self.weights.items():
            digest.update(f"weights of {name}".encode())
            digest.update(weights.contiguous().numpy().tobytes())
        if types and any(self.types.values()):
            digest.update(repr([sorted(self.types.get(key, ())) for key in self.entity_ids]).encode())
        return digest.hexdigest()

    def has_checksum(self, noted: str | None) -> bool:
        """Whether a checksum that was `noted` once, perhaps by an older version, is that of this graph."""
        return noted == self.checksum() or (bool(self.types) and noted == self.checksum(types=False))


def relation_texts(names: Sequence[str]) -> list[str]:
    """Texts of the relations, then of their inverses: that of relation r + len(names) is `inverse NAME`."""
    return [*names, *(f"inverse {name}" for name in names)]
