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
from torch import Tensor

from pmd.data.graphs.answers import KnownAnswers, distinct, distinct_triples, triple_keys
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
    degrees = np.zeros(graph.num_entities, dtype=np.int64)
    for train in ("train", "inductive_train"):
        if train not in graph.split_names:
            continue
        triples = graph.split(train)
        suspects[train] = suspected(triples.numpy(), graph.num_relations, share, fewest)
        for column in (0, 2):
            degrees += np.bincount(triples[:, column], minlength=graph.num_entities)
        known = KnownAnswers(triples, graph.num_entities, graph.num_relations)
        for name in (name for name in graph.context_of(train) if len(graph.split(name))):
            splits[name] = _split_profile(graph, name, train, known, suspects[train])
    words = np.fromiter((len(text.split()) for text in graph.entity_descriptions), np.int64, graph.num_entities)
    return Profile(
        {name: splits[name] for name in graph.split_names if name in splits},
        degrees,
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
    triples = distinct_triples(triples, num_relations)
    no_loop = triples[:, 0] != triples[:, 2]
    counts = np.bincount(triples[no_loop, 1], minlength=num_relations).tolist()
    triples = triples[no_loop & _share_ends(triples)]
    suspects = []
    for inverse in (True, False):
        repeats = _repeats(triples, num_relations, inverse)
        for relation, other, repeated in zip(repeats.row.tolist(), repeats.col.tolist(), repeats.data.tolist()):
            count = counts[relation]
            if count >= fewest and repeated / count >= share and (inverse or relation != other):
                suspects.append(Suspect(relation, other, inverse, repeated / count, count))
    return sorted(suspects, key=lambda suspect: (-suspect.triples, suspect.relation, suspect.other))


def _share_ends(triples: np.ndarray) -> np.ndarray:
    """Which of the distinct triples (n, 3) are between the same two entities as another, either way: most are not."""
    smaller, pairs = (choose(triples[:, 0], triples[:, 2]) for choose in (np.minimum, np.maximum))
    smaller *= int(pairs.max(initial=0)) + 1
    pairs += smaller
    ordered = np.sort(pairs)
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    # `np.isin` would sort all pairs once more, with their places.
    places = np.searchsorted(shared, pairs).clip(max=len(shared) - 1)
    return shared[places] == pairs if len(shared) else np.zeros(len(pairs), dtype=bool)


def _repeats(triples: np.ndarray, num_relations: int, inverse: bool) -> sparse.coo_array:
    """At (r, s), how many of the distinct triples (h, r, t) have (h, s, t), or (t, s, h) if `inverse`.

    It is the product of two matrices that have a row for each relation and a column for each pair of ends.
    """
    n, relations = int(triples[:, [0, 2]].max(initial=0)) + 1, triples[:, 1]
    pairs, inverse_pairs = triples[:, 0] * n + triples[:, 2], triples[:, 2] * n + triples[:, 0]
    ends, columns = np.unique(np.concatenate([inverse_pairs if inverse else pairs, pairs]), return_inverse=True)
    ones, shape = np.ones(len(triples), dtype=np.int64), (num_relations, len(ends))
    wanted, present = (sparse.csr_array((ones, (relations, part)), shape=shape) for part in np.split(columns, 2))
    return (wanted @ present.T).tocoo()


def _split_profile(
    graph: KnowledgeGraph, name: str, train_name: str, in_train: KnownAnswers, suspects: Sequence[Suspect]
) -> SplitProfile:
    triples, is_train = graph.split(name), name == train_name
    is_seen, is_here = _has_entities(graph, train_name), _has_entities(graph, name)
    is_leaked = torch.zeros(len(triples), dtype=torch.bool)
    for suspect in () if is_train else suspects:
        rows = triples[:, 1] == suspect.relation
        repeats = triples[rows][:, [2, 1, 0] if suspect.inverse else [0, 1, 2]]
        repeats[:, 1] = suspect.other
        is_leaked[rows] |= in_train.contains(repeats)
    keys = distinct(triple_keys(triples, graph.num_entities, graph.num_relations).numpy())
    return SplitProfile(
        triples=len(triples),
        entities=int(is_here.sum()),
        relations=int((triples[:, 1].bincount() > 0).sum()),
        repeated=len(triples) - len(keys),
        in_train=0 if is_train else int(in_train.contains(triples).sum()),
        unseen=int((~is_seen[triples[:, 0]] | ~is_seen[triples[:, 2]]).sum()),
        leaked=int(is_leaked.sum()),
    )


def _has_entities(graph: KnowledgeGraph, split: str) -> Tensor:
    """bool (num_entities,): which are in a split."""
    marks = torch.zeros(graph.num_entities, dtype=torch.bool)
    for column in (0, 2):
        marks[graph.split(split)[:, column]] = True
    return marks
