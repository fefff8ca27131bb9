"""What is said of a graph, against loops over its triples."""

import numpy as np
import pytest
import torch

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.profile import Suspect, number_named, profile, suspected

N, R = 9, 4


def random_graph(seed: int, inductive: bool = False) -> KnowledgeGraph:
    generator = np.random.default_rng(seed)

    def triples(count: int, first: int = 0, last: int = N) -> torch.Tensor:
        ends = generator.integers(first, last, (count, 2))
        return torch.tensor(np.stack([ends[:, 0], generator.integers(0, R, count), ends[:, 1]], axis=1))

    last = N - 3 if inductive else N
    splits = {f"inductive_{name}": triples(count, N - 3) for name, count in (("train", 6), ("test", 4))}
    train = triples(40, last=last - 1)
    inverse = train[train[:, 1] == 0][:, [2, 1, 0]]
    inverse[:, 1] = 1  # relation 1 says again what 0 says
    return KnowledgeGraph(
        "random",
        [f"e{i}" for i in range(N)],
        ["e0", *(f"name {i}" for i in range(1, N))],
        ["", "a b c", *["d"] * (N - 2)],
        [f"r{i}" for i in range(R)],
        [f"relation {i}" for i in range(R)],
        torch.cat([train, inverse]),
        triples(12, last=last),
        triples(12, last=last),
        splits if inductive else {},
    )


def slow_suspects(triples: list[tuple[int, int, int]], share: float, fewest: int = 5) -> set[tuple]:
    own = {triple for triple in triples if triple[0] != triple[2]}
    found = set()
    for r in range(R):
        ends = [(h, t) for h, relation, t in own if relation == r]
        for other in range(R):
            for inverse in (True, False):
                again = sum(((t, other, h) if inverse else (h, other, t)) in own for h, t in ends)
                if len(ends) >= fewest and again / len(ends) >= share and (inverse or r != other):
                    found.add((r, other, inverse, again / len(ends), len(ends)))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.2, 0.8])
@pytest.mark.parametrize("fewest", [1, 5, 9])
def test_suspects_are_those_of_a_loop(seed, share, fewest):
    train = random_graph(seed).train
    found = suspected(train.numpy(), R, share, fewest)
    plain = slow_suspects([tuple(triple) for triple in train.tolist()], share, fewest)
    assert {(s.relation, s.other, s.inverse, s.share, s.triples) for s in found} == plain and len(found) == len(plain)
    again = {(h, t) for h, r, t in train.tolist() if r == 0 and h != t}  # relation 1 says all of it
    assert any((s.relation, s.other, s.inverse, s.share) == (0, 1, True, 1.0) for s in found) == (len(again) >= fewest)


def test_relations_of_loops_alone_are_none():
    assert suspected(np.array([[2, 0, 2], [3, 0, 3]]), R, fewest=1) == []
    assert suspected(np.array([[2, 0, 3], [3, 0, 2], [4, 0, 4]]), R, fewest=1) == [Suspect(0, 0, True, 1.0, 2)]


@pytest.mark.parametrize("inductive", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_graph_in_numbers(seed, inductive):
    graph = random_graph(seed, inductive)
    found = profile(graph)
    assert [*found.splits] == graph.split_names
    for name, split in found.splits.items():
        source = "inductive_train" if name.startswith("inductive_") else "train"
        train = [tuple(triple) for triple in graph.split(source).tolist()]
        own = [tuple(triple) for triple in graph.split(name).tolist()]
        seen = {end for h, _, t in train for end in (h, t)}
        rules = slow_suspects(train, 0.8) if name != source else set()
        said = [
            any(
                r == rule and ((t, other, h) if inverse else (h, other, t)) in train
                for rule, other, inverse, _, _ in rules
            )
            for h, r, t in own
        ]
        assert split.triples == len(own) and split.repeated == len(own) - len(set(own))
        assert split.entities == len({end for h, _, t in own for end in (h, t)})
        assert split.relations == len({r for _, r, _ in own})
        assert split.in_train == (0 if name == source else sum(triple in train for triple in own))
        assert split.unseen == sum(not {h, t} <= seen for h, _, t in own)
        assert split.leaked == sum(said)
    sources = [graph.train.tolist(), *([graph.splits["inductive_train"].tolist()] if inductive else [])]
    ends = [end for triples in sources for h, _, t in triples for end in (h, t)]
    assert found.degrees.tolist() == [ends.count(entity) for entity in range(N)]
    assert (found.named, found.described, found.words.tolist()) == (N - 1, N - 1, [3, *[1] * (N - 2)])


def test_names_that_are_ids_in_words_are_not_counted():
    made = random_graph(0)
    made.entity_ids[:3], made.entity_names[:3] = ["e0", "New_York", "Q3"], ["e0", "New York", "Rome"]
    assert profile(made).named == number_named(made) == N - 2


def test_a_graph_is_shown_by_its_sizes():
    graph = random_graph(0, inductive=True)
    assert (
        repr(graph) == f"KnowledgeGraph(random: 9 entities, 4 relations, {len(graph.train)} / 12 / 12 / 6 / 4 triples)"
    )
