from itertools import product
from math import prod

import numpy as np
import pytest

from pmd.trust import paths
from pmd.trust.paths import Facts


def slow_paths(facts, start, end, without):
    """All paths of at most three facts by trying every sequence, and what they weigh."""
    degrees = {e: sum((h == e) + (t == e) for h, _, t in facts) for h, _, t in facts for e in (h, t)}
    ways = [(h, t, (h, r, t)) for h, r, t in facts] + [(t, h, (h, r, t)) for h, r, t in facts]
    found = {}
    for length in (1, 2, 3):
        for steps in product(ways, repeat=length):
            places = [steps[0][0], *(step[1] for step in steps)]
            follows = all(step[0] == place for step, place in zip(steps, places)) and len({*places}) == length + 1
            route = tuple(step[2] for step in steps)
            if follows and (places[0], places[-1]) == (start, end) and without not in route:
                found[route] = 1 / prod(degrees[place] for place in places[1:-1])
    return found


@pytest.mark.parametrize("seed", range(6))
def test_paths_are_those_of_trying_everything(seed, random_graph):
    graph = random_graph(seed, entities=9, train=16)
    triples = np.unique(graph.train.numpy(), axis=0)
    facts = Facts(triples, graph.num_entities, graph.num_relations)
    plain = [tuple(triple) for triple in triples.tolist()]
    compared = 0
    for start, end in [(0, 1), (2, 5), (7, 3), plain[0][::2], plain[5][::2]]:
        without = next((t for t in plain if (t[0], t[2]) == (start, end)), None)
        expected = slow_paths(plain, start, end, without) if start != end else {}
        found = facts.paths(start, end, without, count=10**6)
        assert {path.facts: path.weight for path in found} == pytest.approx(expected)
        assert len(found) == len(expected)
        weights = [path.weight for path in found]
        assert weights == sorted(weights, reverse=True)
        assert facts.paths(start, end, without, count=2) == found[:2]
        compared += len(found)
    assert compared > 5


def test_the_example_reads_a_fact_backwards():
    austria, euro, germany, german = range(4)
    triples = np.array([(austria, 0, euro), (germany, 0, euro), (germany, 1, german)])
    (path,) = Facts(triples, 4, 2).paths(austria, german)
    assert path.facts == ((austria, 0, euro), (germany, 0, euro), (germany, 1, german))
    assert path.weight == 1 / 4


def test_specific_entities_come_first_where_not_all_can_be_looked_at(monkeypatch):
    hub, rare, start, end = 0, 1, 2, 3
    triples = [(start, 0, hub), (hub, 0, end), (start, 0, rare), (rare, 0, end)]
    triples += [(hub, 1, other) for other in range(4, 30)]
    facts = Facts(np.array(triples), 30, 2)
    first, second = facts.paths(start, end)
    assert first.facts[0][2] == rare and second.facts[0][2] == hub and second.weight < first.weight / 10
    monkeypatch.setattr(paths, "MIDDLES", 1)
    assert facts.paths(start, end) == [first]


def test_entities_without_facts_have_no_paths():
    facts = Facts(np.array([(0, 0, 1)]), 4, 1)
    assert facts.paths(2, 3) == facts.paths(0, 3) == facts.paths(1, 1) == []
    assert Facts(np.empty((0, 3), dtype=np.int64), 4, 1).paths(0, 1) == []
