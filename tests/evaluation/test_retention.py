"""The ability retention ratio, against a loop over queries."""

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.evaluation.retention import retained, retention_ratio


def ranks_of(values):
    return torch.tensor(values, dtype=torch.double)


def retention(ranks, k=10):
    return retention_ratio(retained(ranks, k).values())


def plain(table, k):
    """table[i][q]: the rank of query q by width i."""
    kept = answered = 0
    for query in zip(*table):
        hits = [rank <= k for rank in query]
        if any(hits):
            answered += 1
            kept += all(hits[hits.index(True) :])
    return kept / answered


def test_by_hand():
    found = {20: ranks_of([1, 50, 3, 50]), 10: ranks_of([1, 2, 50, 50]), 40: ranks_of([10, 1, 11, 50])}
    # By width 10, 20, 40: kept; lost at 20 and found again; lost at 40; never answered.
    assert retention(found) == pytest.approx(1 / 3)
    assert retained(found) == {10: (2, 1), 20: (1, 0), 40: (0, 0)}
    assert retention(found, k=3) == 0
    assert retained(found, k=3) == {10: (2, 0), 20: (1, 0), 40: (0, 0)}
    assert retention_ratio([(3, 1), (1, 1)]) == 0.5 and retention_ratio([(0, 0)]) == 1


def test_a_loop_says_the_same():
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(1, 25, (5, 200), generator=generator).tolist()
    found = {width: ranks_of(row) for width, row in enumerate(table, start=1)}
    assert retention(found) == pytest.approx(plain(table, 10))
    queries = [[rank <= 10 for rank in query] for query in zip(*table)]
    for i, (answered, kept) in enumerate(retained(found).values()):
        first = [hits for hits in queries if any(hits) and hits.index(True) == i]
        assert (answered, kept) == (len(first), sum(all(hits[i:]) for hits in first))


def test_the_ends():
    assert retention({4: ranks_of([50, 60]), 8: ranks_of([70, 11])}) == 1
    assert retained({4: ranks_of([50, 60]), 8: ranks_of([70, 11])}) == {4: (0, 0), 8: (0, 0)}
    assert retention({4: ranks_of([1, 60])}) == 1
    with pytest.raises(PmdError, match="no ranks"):
        retention({})
    with pytest.raises(PmdError, match="different queries"):
        retention({4: ranks_of([1]), 8: ranks_of([1, 2])})
