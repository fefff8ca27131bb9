"""What is in a graph, and what makes its test split easier or harder than it looks.

A test triple whose answer is in train under an inverse or a duplicate relation measures nothing else (Toutanova and Chen,
2015, on FB15k; Dettmers et al., AAAI 2018, on WN18); an embedding model cannot answer one whose entity is in no training
triple.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from pmd.data.graphs.answers import KnownAnswers, distinct_triples, triple_keys
from pmd.data.graphs.files.tsv import words_of
from pmd.data.graphs.graph import KnowledgeGraph

SUSPECT = 0.8
"""A relation is suspected if another repeats at least this share of its training triples."""
FEWEST = 5
"""Relations with fewer triples are not suspected: that another repeats a single one may be chance."""


@dataclass(frozen=True)
class SplitProfile:
    """A split in numbers: of its triples, of distinct entities and relations in them, and of triples that

    - `repeated`: occur in it before;
    - `in_train`: are also in its training split;
    - `unseen`: have an entity that is in no triple of the training split;
    - `leaked`: are in the training split under a suspected relation.
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
    """A relation most of whose training triples another one repeats, or inverts.

    For `share` of its distinct triples (h, `relation`, t), which are `triples`, (t, `other`, h) is in train if `inverse`,
    and (h, `other`, t) if not.
    """

    relation: int
    other: int
    inverse: bool
    share: float
    triples: int


@dataclass(frozen=True)
class Profile:
    """A graph at a glance.

    `degrees` (num_entities,) count the training triples of each entity, at either end; `described` and `named` are numbers of
    entities with a description, and with a name that is more than their id in words; `words` (described,) are the lengths of descriptions;
    `types` say how many entities have each declared type, the most frequent first.
    """

    splits: dict[str, SplitProfile]
    degrees: np.ndarray
    described: int
    named: int
    words: np.ndarray
    suspects: list[Suspect]
    types: Mapping[str, int]


def profile(graph: KnowledgeGraph, share: float = SUSPECT, fewest: int = FEWEST) -> Profile:
    """The profile of a graph; `share` and `fewest` as for `suspected`."""
    suspects, splits = {}, {}
    for train in ("train", "inductive_train"):
        if train in graph.split_names:
            suspects[train] = suspected(graph.split(train).numpy(), graph.num_relations, share, fewest)
    for name in graph.split_names:
        train = "inductive_train" if name.startswith("inductive_") else "train"
        splits[name] = _split_profile(graph, name, train, suspects[train])
    seen = np.concatenate([graph.split(name).numpy() for name in suspects])
    words = np.array([len(text.split()) for text in graph.entity_descriptions], dtype=np.int64)
    return Profile(
        splits,
        np.bincount(seen[:, [0, 2]].reshape(-1), minlength=graph.num_entities),
        described=int((words > 0).sum()),
        named=number_named(graph),
        words=words[words > 0],
        suspects=suspects["train"],
        types=dict(Counter(kind for kinds in graph.types.values() for kind in {*kinds}).most_common()),
    )


def number_named(graph: KnowledgeGraph) -> int:
    """How many entities have a name that is more than their id in words, which a graph without names has for names."""
    return sum(name not in (key, words_of(key)) for name, key in zip(graph.entity_names, graph.entity_ids))


def suspected(triples: np.ndarray, num_relations: int, share: float = SUSPECT, fewest: int = FEWEST) -> list[Suspect]:
    """Relations of which another repeats at least `share` of the triples (n, 3), if these are `fewest` or more.

    A relation that is its own inverse is symmetric. Loops, which are their own inverses, do not count. Those with the most
    triples come first.
    """
    triples = distinct_triples(triples[triples[:, 0] != triples[:, 2]], num_relations)
    counts = np.bincount(triples[:, 1], minlength=num_relations).tolist()
    suspects = []
    for inverse in (True, False):
        repeats = _repeats(triples, num_relations, inverse)
        for relation, other, repeated in zip(repeats.row.tolist(), repeats.col.tolist(), repeats.data.tolist()):
            count = counts[relation]
            if count >= fewest and repeated / count >= share and (inverse or relation != other):
                suspects.append(Suspect(relation, other, inverse, repeated / count, count))
    return sorted(suspects, key=lambda suspect: (-suspect.triples, suspect.relation, suspect.other))


def _repeats(triples: np.ndarray, num_relations: int, inverse: bool) -> sparse.coo_array:
    """At (r, s), how many of the distinct triples (h, r, t) have (h, s, t), or (t, s, h) if `inverse`.

    It is the product of two matrices that have a row for each relation and a column for each pair of ends.
    """
    n, relations = int(triples[:, [0, 2]].max(initial=0)) + 1, triples[:, 1]
    pairs, inverse_pairs = triples[:, 0] * n + triples[:, 2], triples[:, 2] * n + triples[:, 0]
    distinct, columns = np.unique(np.concatenate([inverse_pairs if inverse else pairs, pairs]), return_inverse=True)
    ones, shape = np.ones(len(triples), dtype=np.int64), (num_relations, len(distinct))
    wanted, present = (sparse.csr_array((ones, (relations, part)), shape=shape) for part in np.split(columns, 2))
    return (wanted @ present.T).tocoo()


def _split_profile(graph: KnowledgeGraph, name: str, train_name: str, suspects: Sequence[Suspect]) -> SplitProfile:
    triples, train, is_train = graph.split(name), graph.split(train_name), name == train_name
    in_train = KnownAnswers(train, graph.num_entities, graph.num_relations)
    is_seen = torch.zeros(graph.num_entities, dtype=torch.bool)
    is_seen[train[:, [0, 2]].flatten()] = True
    is_leaked = torch.zeros(len(triples), dtype=torch.bool)
    for suspect in () if is_train else suspects:
        rows = triples[:, 1] == suspect.relation
        repeats = triples[rows][:, [2, 1, 0] if suspect.inverse else [0, 1, 2]]
        repeats[:, 1] = suspect.other
        is_leaked[rows] |= in_train.contains(repeats)
    distinct = triple_keys(triples, graph.num_entities, graph.num_relations).unique()
    return SplitProfile(
        triples=len(triples),
        entities=len(triples[:, [0, 2]].unique()),
        relations=len(triples[:, 1].unique()),
        repeated=len(triples) - len(distinct),
        in_train=0 if is_train else int(in_train.contains(triples).sum()),
        unseen=int((~is_seen[triples[:, [0, 2]]]).any(1).sum()),
        leaked=int(is_leaked.sum()),
    )
