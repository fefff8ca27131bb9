"""The metrics of a ranking by relation, against numbers counted by hand."""

import pytest
import torch

from pmd.evaluation.breakdown import by_relation
from pmd.evaluation.metrics import QueryRanks, Ranks


def side(ranks):
    places = torch.tensor(ranks)
    return QueryRanks(places, places, torch.full_like(places, 50))


def test_metrics_are_those_of_the_relations_own_queries():
    triples = torch.tensor([[0, 2, 1], [1, 0, 2], [3, 2, 0]])
    found = by_relation(Ranks(triples, head=side([1, 4, 20]), tail=side([2, 5, 1])))
    assert [*found] == [0, 2]
    assert found[0].mrr == pytest.approx((1 / 4 + 1 / 5) / 2) and found[0].num_queries == 2
    assert found[2].mrr == pytest.approx((1 + 1 / 20 + 1 / 2 + 1) / 4)
    assert found[2].head.mrr == pytest.approx((1 + 1 / 20) / 2) and found[2].tail.hits_at_1 == 0.5
    assert found[2].hits_at_10 == 0.75


def test_of_one_side():
    found = by_relation(Ranks(torch.tensor([[0, 0, 1]]), tail=side([3])))
    assert found[0].mrr == pytest.approx(1 / 3) and found[0].head is None
