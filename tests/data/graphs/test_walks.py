import numpy as np
import pytest

from pmd.data.graphs.sources import load_graph
from pmd.data.graphs.walks import LENGTH, walk_order

from ...tiny import TRAIN


@pytest.mark.parametrize("triples", [TRAIN, TRAIN[:1], [(4, 0, 4)] * 3])
def test_every_triple_is_walked_once(triples):
    assert sorted(walk_order(np.array(triples), 0, 0)) == [*range(len(triples))]


def test_seed_and_epoch_decide_the_walks():
    triples = np.array(TRAIN)
    first = walk_order(triples, 0, 0).tolist()
    assert first == walk_order(triples, 0, 0).tolist()
    assert first not in (walk_order(triples, 0, 1).tolist(), walk_order(triples, 1, 0).tolist())


def test_a_walk_stays_in_the_neighbourhood():
    """Of a path and a star without a common entity: a triple shares an entity with one of those before it in its walk."""
    path = [(i, 0, i + 1) for i in range(40)]
    star = [(100, 0, 101 + i) for i in range(40)]
    order = walk_order(np.array(path + star), 0, 0)
    walks, seen = 0, set()
    for triple in order:
        ends = {*(path + star)[triple]} - {0}
        if not ends & seen or walks == 0:
            walks, seen = walks + 1, set()
        seen |= ends
    assert 80 // LENGTH <= walks < 80 / LENGTH * 3


def test_batches_of_walks_have_fewer_entities():
    triples = load_graph("world").train.numpy()

    def entities(order) -> float:
        starts = range(0, len(order) - 255, 256)
        return np.mean([len(np.unique(triples[order[start : start + 256]][:, [0, 2]])) for start in starts])

    assert entities(walk_order(triples, 0, 0)) < 0.75 * entities(np.random.default_rng(0).permutation(len(triples)))
