"""Metrics from ranks that can be checked by hand, and the `evaluate` module beside them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.evaluation.metrics import QueryRanks, RankingMetrics, Ranks

MODULE = Path(__file__).resolve().parents[2] / "pmd" / "evaluation" / "kgc_ranks"


def queries(optimistic: list[int], pessimistic: list[int]) -> QueryRanks:
    return QueryRanks(torch.tensor(optimistic), torch.tensor(pessimistic), torch.full((len(optimistic),), 20))


@pytest.fixture
def hand_made() -> Ranks:
    """Realistic ranks: head 1, 3.5; tail 2, 12."""
    triples = torch.tensor([[0, 0, 1], [1, 0, 2]])
    return Ranks(triples, head=queries([1, 3], [1, 4]), tail=queries([1, 10], [3, 14]))


def test_values_by_hand(hand_made):
    metrics = RankingMetrics.from_ranks(hand_made)
    assert metrics.mrr == pytest.approx((1 + 1 / 3.5 + 1 / 2 + 1 / 12) / 4, abs=1e-12)
    assert metrics.mr == (1 + 3.5 + 2 + 12) / 4
    assert (metrics.hits_at_1, metrics.hits_at_3, metrics.hits_at_10) == (0.25, 0.5, 0.75)
    assert metrics.num_queries == 4
    assert metrics.head.mrr == pytest.approx((1 + 1 / 3.5) / 2, abs=1e-12)
    assert (metrics.head.hits_at_3, metrics.head.hits_at_10, metrics.head.num_queries) == (0.5, 1.0, 2)
    assert metrics.tail.mr == 7
    assert metrics.optimistic.mrr == pytest.approx((1 + 1 / 3 + 1 + 1 / 10) / 4, abs=1e-12)
    assert (metrics.optimistic.hits_at_1, metrics.optimistic.hits_at_10) == (0.5, 1.0)
    assert metrics.pessimistic.mr == (1 + 4 + 3 + 14) / 4
    assert metrics.tail.pessimistic.hits_at_3 == 0.5


def test_a_triple_may_have_the_mean_of_its_two_ranks(hand_made):
    """1 and 2 make 1.5; 3.5 and 12 make 7.75. The mean rank is the same, the others are not."""
    triples = RankingMetrics.from_ranks(hand_made).triples
    assert hand_made.of_triples.tolist() == [1.5, 7.75]
    assert triples.mrr == pytest.approx((1 / 1.5 + 1 / 7.75) / 2, abs=1e-12)
    assert (triples.mr, triples.hits_at_1, triples.hits_at_3, triples.hits_at_10) == (4.625, 0.0, 0.5, 1.0)
    assert triples.num_queries == 2
    one_side = RankingMetrics.from_ranks(Ranks(hand_made.triples, tail=hand_made.tail))
    assert one_side.triples is None and "triples" not in one_side.to_dict()


def test_a_dict_holds_the_nested_numbers(hand_made):
    data = json.loads(json.dumps(RankingMetrics.from_ranks(hand_made).to_dict()))
    assert data["mr"] == 4.625 and data["head"]["pessimistic"]["mr"] == 2.5
    assert "head" not in data["head"]
    one_side = RankingMetrics.from_ranks(Ranks(hand_made.triples, tail=hand_made.tail))
    assert one_side.head is None and "head" not in one_side.to_dict()


def test_no_queries_is_an_error():
    with pytest.raises(PmdError, match="neither side"):
        RankingMetrics.from_ranks(Ranks(torch.zeros(0, 3, dtype=torch.int64)))


def test_bootstrap_error_is_near_the_formula():
    ranks = torch.randint(1, 50, (2000,), generator=torch.Generator().manual_seed(0))
    side = QueryRanks(ranks, ranks, torch.full_like(ranks, 50))
    one_side = Ranks(torch.zeros(2000, 3, dtype=torch.int64), tail=side)
    formula = float((1 / ranks.double()).std() / 2000**0.5)
    assert one_side.mrr_standard_error(seed=1) == pytest.approx(formula, rel=0.1)
    assert one_side.mrr_standard_error(seed=1) == one_side.mrr_standard_error(seed=1)
    # Two equal sides are no more evidence than one, since the triple is what was drawn.
    twice = Ranks(one_side.triples, head=side, tail=side)
    assert twice.mrr_standard_error(seed=1) == pytest.approx(one_side.mrr_standard_error(seed=1), rel=1e-9)


def test_bootstrap_error_needs_two_triples(hand_made):
    with pytest.raises(PmdError, match="at least 2"):
        Ranks(hand_made.triples[:1], tail=queries([1], [1])).mrr_standard_error()


def expected(ranks: Ranks) -> dict[str, float]:
    data = RankingMetrics.from_ranks(ranks).to_dict()
    return {name: value for name, value in data.items() if not isinstance(value, dict)}


def test_evaluate_class_equals_ranking_metrics(hand_made, tmp_path):
    pytest.importorskip("evaluate")
    from pmd.evaluation.kgc_ranks.kgc_ranks import KgcRanks

    metric = KgcRanks(cache_dir=str(tmp_path))
    result = metric.compute(predictions=hand_made.realistic)
    assert result == pytest.approx(expected(hand_made), abs=1e-12)
    assert {type(value) for value in result.values()} == {float, int}
    for part in hand_made.realistic.tolist():
        metric.add(prediction=part)
    assert metric.compute() == result
    with pytest.raises(ValueError, match=r"smallest.* 0"):
        metric.compute(predictions=[0, 1])


def test_evaluate_loads_the_folder_offline(hand_made, tmp_path, monkeypatch):
    evaluate = pytest.importorskip("evaluate")

    def refuse(*arguments):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    metric = evaluate.load(str(MODULE), cache_dir=str(tmp_path))
    assert metric.compute(predictions=hand_made.realistic.tolist()) == pytest.approx(expected(hand_made), abs=1e-12)
