import numpy as np
import pytest

from pmd.trust.near_facts import near_facts


@pytest.mark.parametrize("missing", [None, "head", "tail"])
def test_the_nearest_facts_are_those_of_a_loop(missing, random_graph):
    graph = random_graph(0)
    facts = np.unique(graph.train.numpy(), axis=0)
    vectors = np.random.default_rng(0).normal(size=(graph.num_entities, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    head, relation, tail = facts[3].tolist()
    asked = (None if missing == "head" else head, relation, None if missing == "tail" else tail)
    found = near_facts(facts, asked, lambda entities: vectors[entities], count=100)
    expected = {}
    for fact in map(tuple, facts.tolist()):
        if fact[1] == relation and fact != asked:
            pairs = zip((fact[0], fact[2]), (asked[0], asked[2]))
            expected[fact] = [None if end is None else vectors[entity] @ vectors[end] for entity, end in pairs]
    assert {near.fact for near in found} == {*expected} and len(found) == len(expected) > 3
    means = []
    for near in found:
        assert [near.head_cosine, near.tail_cosine] == pytest.approx(expected[near.fact])
        means.append(np.mean([cosine for cosine in expected[near.fact] if cosine is not None]))
    assert means == sorted(means, reverse=True)
    assert near_facts(facts, asked, lambda entities: vectors[entities], count=2) == found[:2]


def test_a_relation_without_facts_has_none_near():
    assert near_facts(np.array([[0, 0, 1]]), (0, 1, 2), lambda entities: np.ones((len(entities), 1))) == []
