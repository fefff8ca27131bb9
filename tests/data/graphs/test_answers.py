"""`KnownAnswers` against a double loop over sets."""

import numpy as np
import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.answers import KnownAnswers, distinct_triples, triple_keys

from ...says import says


def slow_lookup(known, queries, target):
    """For each query row, in order, the sorted entities that complete it."""
    pairs = []
    for row, (head, relation, tail) in enumerate(queries.tolist()):
        answers = set()
        for h, r, t in known.tolist():
            if target == "tail" and (h, r) == (head, relation):
                answers.add(t)
            if target == "head" and (r, t) == (relation, tail):
                answers.add(h)
        pairs += [(row, entity) for entity in sorted(answers)]
    return pairs


def pairs_of(rows, entities):
    assert rows.dtype == entities.dtype == torch.int64
    return list(zip(rows.tolist(), entities.tolist()))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("target", ["head", "tail"])
def test_lookup_equals_the_double_loop(random_graph, seed, target):
    graph = random_graph(seed, entities=3 + 2 * seed)
    known = graph.known_triples()
    assert len(torch.unique(known, dim=0)) < len(known), "the graph should have duplicate triples"
    # Every query there can be, in random order: known and unseen (h, r), entities of no triple.
    everything = torch.cartesian_prod(*map(torch.arange, (graph.num_entities, graph.num_relations, graph.num_entities)))
    queries = everything[torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))]
    queries = torch.cat([queries, queries[:5]])
    answers = KnownAnswers(known, graph.num_entities, graph.num_relations)
    found = pairs_of(*answers.lookup(queries, target))
    assert found == slow_lookup(known, queries, target)
    assert len({row for row, _ in found}) < len(queries), "some query should have no answer"


@pytest.mark.parametrize("seed", range(4))
def test_contains_equals_set_membership(random_graph, seed):
    graph = random_graph(seed)
    known = graph.known_triples()
    answers = KnownAnswers(known, graph.num_entities, graph.num_relations)
    everything = torch.cartesian_prod(*map(torch.arange, (graph.num_entities, graph.num_relations, graph.num_entities)))
    members = set(map(tuple, known.tolist()))
    assert answers.contains(everything).tolist() == [tuple(row) in members for row in everything.tolist()]


def test_hand_computed_values():
    known = torch.tensor([[0, 0, 2], [0, 0, 1], [3, 0, 1], [0, 1, 3], [0, 0, 2]])
    answers = KnownAnswers(known, num_entities=4, num_relations=2)
    queries = torch.tensor([[0, 0, 1], [1, 1, 3], [0, 1, 0]])
    assert pairs_of(*answers.lookup(queries, "tail")) == [(0, 1), (0, 2), (2, 3)]
    assert pairs_of(*answers.lookup(queries, "head")) == [(0, 0), (0, 3), (1, 0)]
    assert answers.contains(queries).tolist() == [True, False, False]


@pytest.mark.parametrize("count", [0, 1, 300])
def test_distinct_triples_are_those_of_numpy(count):
    triples = np.random.default_rng(0).integers(0, [9, 4, 9], size=(count, 3))
    assert distinct_triples(triples, 4).tolist() == np.unique(triples, axis=0).tolist()


def test_the_entry_at_the_target_is_not_read():
    answers = KnownAnswers(torch.tensor([[0, 0, 1]]), 2, 1)
    assert pairs_of(*answers.lookup(torch.tensor([[0, 0, -1]]), "tail")) == [(0, 1)]
    assert pairs_of(*answers.lookup(torch.tensor([[99, 0, 1]]), "head")) == [(0, 0)]


def test_no_known_triples_and_no_queries():
    empty = torch.empty(0, 3, dtype=torch.int64)
    nothing = KnownAnswers(empty, 4, 2)
    queries = torch.tensor([[0, 0, 1], [3, 1, 3]])
    assert pairs_of(*nothing.lookup(queries, "tail")) == []
    assert nothing.contains(queries).tolist() == [False, False]
    some = KnownAnswers(queries, 4, 2)
    assert pairs_of(*some.lookup(empty, "head")) == []
    assert some.contains(empty).tolist() == []


def test_narrow_integers_do_not_overflow():
    known = torch.tensor([[40_000, 900, 39_999]], dtype=torch.int32)
    answers = KnownAnswers(known, 50_000, 1000)
    assert pairs_of(*answers.lookup(known, "tail")) == [(0, 39_999)]
    assert answers.contains(known).tolist() == [True]


def test_millions_of_entities_keep_their_keys_apart():
    known = torch.tensor([[2_999_999, 999, 2_999_999], [2_999_999, 999, 0], [2_999_999, 998, 2_999_999]])
    answers = KnownAnswers(known, 3_000_000, 1000)
    assert pairs_of(*answers.lookup(known[:1], "tail")) == [(0, 0), (0, 2_999_999)]


@pytest.mark.parametrize(
    ("triples", "words"),
    [
        ([[0, 0, 4]], "triple 0: tail 4…outside 0…3"),
        ([[0, 0, 0], [0, 2, 0]], "triple 1: relation 2…outside 0…1"),
        ([[-1, 0, 0]], "triple 0: head -1…outside 0…3"),
        ([[0, 0]], "shape (1, 2)"),
    ],
)
def test_bad_triples_are_refused(triples, words):
    with pytest.raises(PmdError) as caught:
        KnownAnswers(torch.tensor(triples), 4, 2)
    assert says(str(caught.value), words)
    if "outside" in words:
        with pytest.raises(PmdError, match="outside"):
            KnownAnswers(torch.tensor([[0, 0, 1]]), 4, 2).contains(torch.tensor(triples))


def test_an_unknown_target_is_refused():
    with pytest.raises(PmdError, match=r"'tails'.*'head'.*'tail'"):
        KnownAnswers(torch.tensor([[0, 0, 1]]), 4, 2).lookup(torch.tensor([[0, 0, 1]]), "tails")


def test_keys_that_do_not_fit_are_refused():
    with pytest.raises(PmdError, match="64-bit"):
        KnownAnswers(torch.tensor([[0, 0, 1]]), 2**31, 3).contains(torch.tensor([[0, 0, 1]]))


def test_equal_triples_have_equal_keys():
    triples = torch.tensor([[1, 0, 2], [1, 0, 2], [2, 0, 1]])
    assert triple_keys(triples, 3, 1).tolist() == [5, 5, 7]
    assert triple_keys(triples, 3, 1, "head").tolist() == [7, 7, 5]
