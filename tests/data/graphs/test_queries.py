import numpy as np
import pytest

from pmd.data.graphs.queries import query_order
from pmd.data.graphs.sources import load_graph
from pmd.settings.text import ANSWERS


def starts_of(keys: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(keys, prepend=-1))


def run_lengths(keys: np.ndarray) -> np.ndarray:
    return np.diff(starts_of(keys), append=len(keys))


@pytest.mark.parametrize("keys", [[3, 1, 3, 3, 2], [5], [7] * 40])
def test_every_example_comes_once(keys):
    assert sorted(query_order(np.array(keys), 0, 0)) == [*range(len(keys))]


def test_seed_and_epoch_decide_the_order():
    keys = np.arange(60) % 7
    first = query_order(keys, 0, 0).tolist()
    assert first == query_order(keys, 0, 0).tolist()
    assert first not in (query_order(keys, 0, 1).tolist(), query_order(keys, 1, 0).tolist())


def test_answers_of_a_query_follow_each_other():
    """A query with 40 answers comes in runs of eight, 40 others each by itself."""
    keys = np.r_[np.zeros(40, int), 1:41]
    ordered = keys[query_order(keys, 0, 0)]
    lengths = [length for first, length in zip(ordered[starts_of(ordered)], run_lengths(ordered)) if first == 0]
    assert sum(lengths) == 40 and len(lengths) > 1
    assert all(length % ANSWERS == 0 for length in lengths)  # the runs are in random order, and some may meet


def test_batches_read_fewer_queries_where_queries_have_many_answers():
    heads, relations, tails = load_graph("world").train.numpy().T
    keys = np.r_[heads, tails] * 1000 + np.r_[relations, relations + 500]

    def distinct(order: np.ndarray) -> float:
        return np.mean([len({*keys[order[start : start + 512]]}) for start in range(0, len(keys) - 511, 512)])

    grouped, drawn = query_order(keys, 0, 0), np.random.default_rng(0).permutation(len(keys))
    assert distinct(grouped) < 0.85 * distinct(drawn)
    assert run_lengths(keys[grouped]).max() <= 2 * ANSWERS  # runs of a query may meet
