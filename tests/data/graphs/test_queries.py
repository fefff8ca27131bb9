import numpy as np
import pytest

from pmd.data.graphs.queries import LENGTH, query_order
from pmd.data.graphs.sources import load_graph

from ...tiny import TRAIN


def queries_in_order(triples: np.ndarray, order: np.ndarray) -> list[tuple[int, int, bool]]:
    """(known entity, relation, is inverse) of each position, by a plain loop."""
    n = len(triples)
    return [(int(triples[i % n][2 if i >= n else 0]), int(triples[i % n][1]), bool(i >= n)) for i in order.tolist()]


def run_lengths(queries: list) -> list[int]:
    starts = [i for i, query in enumerate(queries) if i == 0 or query != queries[i - 1]]
    return np.diff([*starts, len(queries)]).tolist()


@pytest.mark.parametrize("triples", [TRAIN, TRAIN[:1], [(4, 0, 4)] * 3])
def test_every_example_comes_once(triples):
    assert sorted(query_order(np.array(triples), 0, 0)) == [*range(2 * len(triples))]


def test_seed_and_epoch_decide_the_order():
    triples = np.array(TRAIN)
    first = query_order(triples, 0, 0).tolist()
    assert first == query_order(triples, 0, 0).tolist()
    assert first not in (query_order(triples, 0, 1).tolist(), query_order(triples, 1, 0).tolist())


def test_answers_of_a_query_follow_each_other():
    """A star of 40 tails: its one tail query comes in runs of eight, its 40 head queries each by itself. A relation of the
    same number in the other direction is another query."""
    star = np.array([(0, 0, 1 + i) for i in range(40)] + [(50, 0, 0)])
    queries = queries_in_order(star, query_order(star, 0, 0))
    of_star = [query == (0, 0, False) for query in queries]
    assert sum(of_star) == 40
    assert queries.count((0, 0, True)) == 1
    starts = sum(now and not before for before, now in zip([False, *of_star], of_star))
    assert 1 < starts <= 40 // LENGTH  # the runs are in random order, and some may meet


def test_batches_read_fewer_queries_where_queries_have_many_answers():
    triples = load_graph("world").train.numpy()

    def distinct(order: np.ndarray) -> float:
        queries = queries_in_order(triples, order)
        return np.mean([len({*queries[start : start + 512]}) for start in range(0, len(queries) - 511, 512)])

    grouped, drawn = query_order(triples, 0, 0), np.random.default_rng(0).permutation(2 * len(triples))
    assert distinct(grouped) < 0.85 * distinct(drawn)
    assert max(run_lengths(queries_in_order(triples, grouped))) <= 2 * LENGTH  # runs of a query may meet
