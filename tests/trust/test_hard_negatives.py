import numpy as np
import pytest

from pmd.trust.hard_negatives import hard_negatives


@pytest.mark.parametrize("seed", range(4))
def test_one_end_is_another_that_fits_and_nothing_is_known(seed, random_graph):
    graph = random_graph(seed, entities=20, train=50)
    true, seen = graph.test.numpy(), graph.train.numpy()
    known = {tuple(triple) for split in graph.split_names for triple in graph.split(split).tolist()}
    places = {column: {(row[1], row[column]) for row in seen.tolist()} for column in (0, 2)}

    def is_known(triples):
        return np.array([tuple(triple) in known for triple in triples.tolist()], dtype=bool)

    false = hard_negatives(true, seen, 3, is_known, seed)
    assert len(false) == len(true) and not is_known(false).any()
    ends = []
    for row, made in zip(true.tolist(), false.tolist()):
        changed = [column for column in range(3) if row[column] != made[column]]
        assert changed in ([0], [2])
        assert (made[1], made[changed[0]]) in places[changed[0]]
        ends += changed
    assert {0, 2} == set(ends)
    assert (hard_negatives(true, seen, 3, is_known, seed) == false).all()
    assert (hard_negatives(true, seen, 3, is_known, seed + 1) != false).any()


def test_where_one_end_has_no_other_the_other_is_replaced_and_where_none_has_the_triple_is_left_out():
    seen = np.array([[0, 0, 1], [2, 0, 1], [3, 1, 4]])
    true = np.array([[0, 0, 1], [2, 0, 1], [3, 1, 4], [5, 2, 6]])

    def is_known(triples):
        return np.array([triple.tolist() == [0, 0, 1] for triple in triples], dtype=bool)

    made = hard_negatives(np.concatenate([true, true]), seen, 3, is_known)
    assert np.unique(made, axis=0).tolist() == [[2, 0, 1], [3, 1, 4]]


def test_nothing_makes_nothing():
    nothing = np.empty((0, 3), dtype=np.int64)
    assert hard_negatives(nothing, nothing, 2, lambda triples: np.zeros(len(triples), dtype=bool)).shape == (0, 3)
