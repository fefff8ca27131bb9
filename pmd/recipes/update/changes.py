"""What differs between two states of a graph. Ids decide what is the same; positions may have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.use.index import Index


@dataclass(frozen=True, eq=False)
class GraphState:
    """Ids, names, descriptions, and by split the distinct triples (n, 3) of a graph at a time."""

    entity_ids: Sequence[str]
    entity_names: Sequence[str]
    entity_descriptions: Sequence[str]
    relation_ids: Sequence[str]
    relation_names: Sequence[str]
    splits: Mapping[str, np.ndarray]

    @classmethod
    def of_graph(cls, graph: KnowledgeGraph) -> GraphState:
        splits = {name: np.unique(graph.split(name).numpy(), axis=0) for name in graph.split_names}
        return cls(*_vocabulary(graph), splits)

    @classmethod
    def of_index(cls, index: Index) -> GraphState:
        """The graph that an index was built from."""
        keys, bits = index.column("tail_keys"), index.column("tail_splits")
        queries, tails = np.divmod(keys, index.num_entities)
        triples = np.stack([*np.divmod(queries, index.num_relations), tails], 1)
        splits = {name: triples[bits >> bit & 1 > 0] for bit, name in enumerate(index.metadata["splits"])}
        entities, relations = index.entities, index.relations
        texts = (entities.ids, entities.names, entities.descriptions, relations.ids, relations.names)
        return cls(*([*column] for column in texts), splits)


def _vocabulary(graph: Any) -> tuple[Sequence[str], ...]:
    entities = graph.entity_ids, graph.entity_names, graph.entity_descriptions
    return *entities, graph.relation_ids, graph.relation_names


def positions(ids: Sequence[str], among: Sequence[str]) -> np.ndarray:
    """Where each id (n,) stands among others; −1 where it does not."""
    places = {key: place for place, key in enumerate(among)}
    return np.array([places.get(key, -1) for key in ids], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Changes:
    """From one state of a graph to a newer one."""

    old: GraphState
    new: GraphState

    @cached_property
    def entities(self) -> np.ndarray:
        """For each entity now its old position (n,), −1 for a new one."""
        return positions(self.new.entity_ids, self.old.entity_ids)

    @cached_property
    def relations(self) -> np.ndarray:
        """The same of the relations."""
        return positions(self.new.relation_ids, self.old.relation_ids)

    @cached_property
    def new_facts(self) -> dict[str, np.ndarray]:
        """By split, the triples (n, 3) that no split had, in positions of now."""
        return self._facts[0]

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """What is new, changed and gone, by kind: entities, names, descriptions, relations, facts by split."""
        old, new = self.old, self.new
        counts = {
            "entities": _vocabulary_counts(self.entities, len(old.entity_ids)),
            "names": _text_counts(self.entities, old.entity_names, new.entity_names),
            "descriptions": _text_counts(self.entities, old.entity_descriptions, new.entity_descriptions),
            "relations": _vocabulary_counts(self.relations, len(old.relation_ids)),
            "relation names": _text_counts(self.relations, old.relation_names, new.relation_names),
        }
        added, moved, gone = self._facts
        for split in added | gone:
            numbers = (len(part.get(split, ())) for part in (added, moved, gone))
            counts[f"facts, {split}"] = dict(zip(("new", "changed", "gone"), numbers))
        return counts

    @cached_property
    def is_empty(self) -> bool:
        """Whether nothing differs, the order of entities and relations included."""
        in_order = all((rows == np.arange(len(rows))).all() for rows in (self.entities, self.relations))
        return in_order and not any(sum(kinds.values()) for kinds in self.counts.values())

    @property
    def reordered(self) -> bool:
        """Whether entities that remain stand in another order, or at other positions."""
        return any((rows != np.arange(len(rows)))[rows >= 0].any() for rows in (self.entities, self.relations))

    @cached_property
    def _facts(self) -> tuple[dict[str, np.ndarray], ...]:
        """By split: triples that are new, those that another split had, and those that are gone from all splits, the last in
        old positions."""
        old, new = self.old, self.new
        entities = positions(old.entity_ids, new.entity_ids)
        relations = positions(old.relation_ids, new.relation_ids)
        sizes = len(new.entity_ids), len(new.relation_ids)

        def now(triples: np.ndarray) -> np.ndarray:
            """Old triples in positions of now: −1 for what is gone."""
            return np.stack([entities[triples[:, 0]], relations[triples[:, 1]], entities[triples[:, 2]]], 1)

        before = {name: keys_of(now(triples), *sizes) for name, triples in old.splits.items()}
        after = {name: keys_of(triples, *sizes) for name, triples in new.splits.items()}
        known, remaining = (np.concatenate([*keys.values(), [-2]]) for keys in (before, after))
        added, moved, gone = {}, {}, {}
        for name, triples in new.splits.items():
            was_known = np.isin(after[name], known)
            was_here = np.isin(after[name], before.get(name, []))
            added[name], moved[name] = triples[~was_known], triples[was_known & ~was_here]
        for name, triples in old.splits.items():
            gone[name] = triples[~np.isin(before[name], remaining)]
        return added, moved, gone


def keys_of(triples: np.ndarray, num_entities: int, num_relations: int) -> np.ndarray:
    """A number (n,) for each triple; −1 for one of which a part is gone."""
    keys = (triples[:, 0] * num_relations + triples[:, 1]) * num_entities + triples[:, 2]
    return np.where((triples < 0).any(1), -1, keys)


def _vocabulary_counts(rows: np.ndarray, before: int) -> dict[str, int]:
    return {"new": int((rows < 0).sum()), "changed": 0, "gone": before - int((rows >= 0).sum())}


def _text_counts(rows: np.ndarray, before: Sequence[str], after: Sequence[str]) -> dict[str, int]:
    changed = sum(row >= 0 and before[row] != text for row, text in zip(rows.tolist(), after))
    return {"new": 0, "changed": changed, "gone": 0}
