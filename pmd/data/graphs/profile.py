"""What is in a graph, and what makes its test split easier, or harder, than it looks.

A test triple whose answer stands in train under an inverse or a duplicate relation measures nothing but that (Toutanova
and Chen, 2015, on FB15k; Dettmers et al., AAAI 2018, on WN18); one whose entity no training triple mentions cannot be
answered by an embedding model at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pmd.data.graphs.graph import KnowledgeGraph

SUSPECT = 0.8
"""From which share of its training triples on another relation says the same of a relation."""
FEWEST = 5
"""Relations of fewer triples are not suspected: that another says the same of a single one may be chance."""


@dataclass(frozen=True)
class SplitProfile:
    """A split in numbers of triples.

    `repeated`: that stand in it before; `in_train`: that its training split has too; `unseen`: with an entity that no
    triple of the training split mentions; `leaked`: that a suspected relation says in the training split already.
    """

    triples: int
    entities: int
    relations: int
    repeated: int
    in_train: int
    unseen: int
    leaked: int


@dataclass(frozen=True)
class Suspect:
    """Another relation that says the same of most training triples of a relation.

    `share` of the distinct triples (h, r, t) of `relation` have (t, `other`, h) in train if `inverse`, or else (h, `other`, t).
    """

    relation: int
    other: int
    inverse: bool
    share: float
    triples: int


@dataclass(frozen=True)
class Profile:
    """A graph at a glance; `degrees` (num_entities,) count the training triples of each entity, at either end."""

    splits: dict[str, SplitProfile]
    degrees: np.ndarray
    described: int
    named: int
    words: np.ndarray
    suspects: list[Suspect]


def profile(graph: KnowledgeGraph, share: float = SUSPECT, fewest: int = FEWEST) -> Profile:
    """Look at a graph; from which `share`, and from how many training triples on a relation is suspected."""
    suspects, splits = {}, {}
    trains = {name: graph.visible_triples(name).numpy() for name in graph.split_names}
    for train in ("train", "inductive_train"):
        if train in graph.split_names:
            suspects[train] = suspected(graph.split(train).numpy(), graph.num_relations, share, fewest)
    for name, train in trains.items():
        source = "inductive_train" if name.startswith("inductive_") else "train"
        splits[name] = _of_split(graph, graph.split(name).numpy(), train, suspects[source], name == source)
    seen = np.concatenate([graph.split(name).numpy() for name in suspects])
    words = np.array([len(text.split()) for text in graph.entity_descriptions], dtype=np.int64)
    return Profile(
        splits,
        np.bincount(seen[:, [0, 2]].reshape(-1), minlength=graph.num_entities),
        described=int((words > 0).sum()),
        named=sum(name != key for name, key in zip(graph.entity_names, graph.entity_ids)),
        words=words[words > 0],
        suspects=suspects["train"],
    )


def suspected(triples: np.ndarray, num_relations: int, share: float = SUSPECT, fewest: int = FEWEST) -> list[Suspect]:
    """Which relations say again, one way or the other, what `share` of the triples (n, 3) of a relation say, which are
    `fewest` at least.

    A relation that is its own inverse is symmetric. Loops, which are their own inverses, do not count. The largest first.
    """
    triples = np.unique(triples[triples[:, 0] != triples[:, 2]], axis=0)
    counts = np.bincount(triples[:, 1], minlength=num_relations)
    found = []
    for inverse in (True, False):
        own, other = _meetings(triples, inverse)
        pairs, meetings = np.unique(triples[own, 1] * num_relations + triples[other, 1], return_counts=True)
        for pair, meeting in zip(pairs.tolist(), meetings.tolist()):
            relation, second = divmod(pair, num_relations)
            count = int(counts[relation])
            if count >= fewest and meeting / count >= share and (inverse or relation != second):
                found.append(Suspect(relation, second, inverse, meeting / count, count))
    return sorted(found, key=lambda one: (-one.triples, one.relation, one.other))


def _meetings(triples: np.ndarray, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (m,) and (m,) of distinct triples that have the same two ends, in the other or in the same order."""
    n = int(triples[:, [0, 2]].max(initial=0)) + 1
    keys = triples[:, 0] * n + triples[:, 2]
    asked = triples[:, 2] * n + triples[:, 0] if inverse else keys
    order = np.argsort(keys, kind="stable")
    first, last = (np.searchsorted(keys[order], asked, side=side) for side in ("left", "right"))
    own = np.repeat(np.arange(len(triples)), last - first)
    within = np.arange(len(own)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    return own, order[np.repeat(first, last - first) + within]


def _of_split(
    graph: KnowledgeGraph, triples: np.ndarray, train: np.ndarray, suspects: Sequence[Suspect], is_train: bool
) -> SplitProfile:
    def keys(rows: np.ndarray) -> np.ndarray:
        return (rows[:, 1] * graph.num_entities + rows[:, 0]) * graph.num_entities + rows[:, 2]

    known = np.zeros(graph.num_entities, dtype=bool)
    known[train[:, [0, 2]]] = True
    leaked = np.zeros(len(triples), dtype=bool)
    for one in () if is_train else suspects:
        rows = triples[:, 1] == one.relation
        said = triples[rows][:, [2, 1, 0]] if one.inverse else triples[rows].copy()
        said[:, 1] = one.other
        leaked[rows] |= np.isin(keys(said), keys(train))
    return SplitProfile(
        triples=len(triples),
        entities=len(np.unique(triples[:, [0, 2]])),
        relations=len(np.unique(triples[:, 1])),
        repeated=len(triples) - len(np.unique(keys(triples))),
        in_train=0 if is_train else int(np.isin(keys(triples), keys(train)).sum()),
        unseen=int((~known[triples[:, [0, 2]]]).any(1).sum()),
        leaked=int(leaked.sum()),
    )
