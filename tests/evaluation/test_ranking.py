"""Ranks by value, against a double loop and against PyKEEN, on graphs where nearly everything is tied."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from pmd.core.errors import PmdError
from pmd.evaluation import counting, ranking
from pmd.evaluation.ranking import QueryRanks, RankingMetrics, rank, ranks

from ..says import says
from .oracle import TableScorer, slow_ranks, tied_scorer


def as_rows(side: QueryRanks) -> list[tuple[int, int, int]]:
    return list(zip(side.optimistic.tolist(), side.pessimistic.tolist(), side.num_candidates.tolist()))


def assert_equals_loop(scorer, graph, split="test", filtered=True, candidates=None, **options) -> None:
    found = ranks(scorer, graph, split, filtered=filtered, **options)
    for target, side in found.sides.items():
        table = scorer.tables[target].tolist()
        slow = slow_ranks(
            lambda known, relation, candidate, table=table: table[known][relation][candidate],
            graph,
            split,
            target,
            filtered,
            list(range(graph.num_entities)) if candidates is None else candidates,
        )
        assert as_rows(side) == slow
        assert side.realistic.tolist() == [(low + high) / 2 for low, high, _ in slow]


@pytest.fixture
def inductive(random_graph):
    """Two graphs in one, entities 0 to 10 and 11 to 22; the candidates of each are its own."""
    graph, other = random_graph(0, entities=12), random_graph(1, entities=13)
    moved = {f"inductive_{n}": other.split(n) + torch.tensor([11, 0, 11]) for n in ("train", "valid", "test")}
    both = random_graph(0, entities=24)
    return dataclasses.replace(both, train=graph.train, valid=graph.valid, test=graph.test, splits=moved)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_equals_a_double_loop(random_graph, seed, filtered, batch_size):
    graph = random_graph(seed)
    assert_equals_loop(tied_scorer(graph, seed), graph, filtered=filtered, batch_size=batch_size)


def test_a_batch_has_no_more_scores_than_memory_is_to_hold(random_graph, monkeypatch):
    graph, sizes = random_graph(2), []
    scorer = tied_scorer(graph, 2)
    expected, score_all = ranks(scorer, graph), scorer.score_all
    monkeypatch.setattr(ranking, "MOST_SCORES", 3 * graph.num_entities + 1)
    scorer.score_all = lambda triples, target: sizes.append(len(triples)) or score_all(triples, target)
    for side, wanted in zip(ranks(scorer, graph).sides.values(), expected.sides.values()):
        assert torch.equal(side.realistic, wanted.realistic)
    assert max(sizes) == 3


@pytest.mark.parametrize("block", [1, 30, 50])
def test_blocks_of_rows_do_not_change_the_ranks(random_graph, monkeypatch, block):
    monkeypatch.setattr(counting, "CPU_BLOCK", block)
    graph = random_graph(3, test=40)
    assert_equals_loop(tied_scorer(graph, 3), graph, batch_size=7)


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_counting_on_cpu_equals_counting_anywhere(monkeypatch, some, block):
    monkeypatch.setattr(counting, "CPU_BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(4, (9, 20), generator=generator).float()
    scores[4, 7] = torch.nan
    candidates = torch.tensor([0, 3, 7, 11, 19]) if some else None
    for rows in (torch.arange(9), torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 8])):
        truth = scores[rows, 3]
        for one, other in zip(
            counting.count_on_device(scores, rows, truth, candidates),
            counting.count_on_cpu(scores, rows, truth, candidates),
        ):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("split", ["test", "valid", "inductive_test", "inductive_valid"])
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_inductive_graphs_rank_among_their_own_entities(inductive, split, filtered, batch_size):
    context = inductive.known_triples(split)
    own = sorted({entity for head, _, tail in context.tolist() for entity in (head, tail)})
    assert len(own) < inductive.num_entities
    scorer = tied_scorer(inductive, 4)
    assert_equals_loop(scorer, inductive, split, filtered, own, batch_size=batch_size)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scores_are_compared_in_their_own_type(random_graph, dtype):
    graph = random_graph(5)
    scorer = tied_scorer(graph, 5)
    # Differences that only fp64 can hold; halves are still exact here and must not be counted in halves.
    step = 1e-12 if dtype == torch.float64 else 1
    scorer.tables = {t: (1 + table.double() * step).to(dtype) for t, table in scorer.tables.items()}
    assert_equals_loop(scorer, graph)


def test_half_precision_counts_beyond_what_it_can_hold(random_graph):
    graph = random_graph(5, entities=3000)
    scores = torch.arange(3000, 0, -1).expand(3000, 3, 3000).bfloat16()
    expected = (scores[0, 0][None] > scores[0, 0][graph.test[:, 2], None]).sum(1) + 1
    found = ranks(TableScorer({"tail": scores}), graph, targets=("tail",), filtered=False)
    assert found.tail.optimistic.tolist() == expected.tolist()
    assert found.tail.optimistic.max() > 1000


def test_infinite_scores_are_ordinary_ties(random_graph):
    graph = random_graph(6)
    scorer = tied_scorer(graph, 6)
    for table in scorer.tables.values():
        table[table == 0] = -torch.inf
        table[table == 3] = torch.inf
    assert_equals_loop(scorer, graph)


def test_a_query_shared_by_triples_is_scored_once(random_graph):
    graph = random_graph(0, test=200)
    scorer = tied_scorer(graph)
    ranks(scorer, graph, targets=("tail",), batch_size=1000)
    assert scorer.batches == [len({(head, relation) for head, relation, _ in graph.test.tolist()})]


def test_no_batch_is_larger_than_asked_for(random_graph):
    graph = random_graph(0, test=200)
    scorer = tied_scorer(graph)
    ranks(scorer, graph, batch_size=16)
    assert max(scorer.batches) <= 16


def test_the_scorers_own_tensor_is_left_alone(random_graph):
    graph = random_graph()

    class Constant:
        scores = torch.arange(12.0).repeat(12, 1)

        def score_all(self, triples, target):
            return self.scores[: len(triples)]

    ranks(Constant(), graph, batch_size=4)
    assert torch.equal(Constant.scores, torch.arange(12.0).repeat(12, 1))


def test_max_triples_draws_the_same_rows_in_order(random_graph):
    graph = random_graph()
    scorer = tied_scorer(graph)
    everything = ranks(scorer, graph)
    some, again = (ranks(scorer, graph, max_triples=5, seed=3) for _ in range(2))
    other = ranks(scorer, graph, max_triples=5, seed=4)
    assert some.triples.tolist() == again.triples.tolist() != other.triples.tolist()
    generator = torch.Generator().manual_seed(3)
    rows = sorted(torch.randperm(12, generator=generator)[:5].tolist())
    assert some.triples.tolist() == graph.test[rows].tolist()
    assert some.tail.realistic.tolist() == everything.tail.realistic[rows].tolist()
    assert len(ranks(scorer, graph, max_triples=500).triples) == 12


def test_a_side_that_was_not_asked_for_is_none(random_graph):
    graph = random_graph()
    scorer = tied_scorer(graph)
    found, whole = ranks(scorer, graph, targets=("tail",)), ranks(scorer, graph)
    assert found.head is None
    assert found.realistic.tolist() == whole.tail.realistic.tolist()
    assert whole.realistic.tolist() == whole.head.realistic.tolist() + whole.tail.realistic.tolist()
    assert whole.optimistic.tolist() == whole.both.optimistic.tolist()
    assert whole.pessimistic.tolist() == whole.both.pessimistic.tolist()


def test_modules_are_ranked_in_eval_mode_and_left_as_they_were(random_graph):
    graph = random_graph()

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(12))
            self.dropout, self.frozen = nn.Dropout(0.5), nn.Dropout(0.5).eval()

        def score_all(self, triples, target):
            assert not torch.is_grad_enabled()
            return self.dropout(self.weight).expand(len(triples), 12)

    model = Noisy()
    found = ranks(model, graph, filtered=False)
    assert set(found.realistic.tolist()) == {6.5}
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.parametrize("target, query", [("tail", "({0}, {1}, ?)"), ("head", "(?, {1}, {2})")])
def test_nan_names_the_query(random_graph, target, query):
    graph = random_graph()
    scorer = tied_scorer(graph)
    head, relation, tail = graph.test[8].tolist()
    scorer.tables[target][tail if target == "head" else head, relation, 5] = torch.nan
    named = query.format(f"e{head}", f"r{relation}", f"e{tail}")
    with pytest.raises(PmdError) as caught:
        ranks(scorer, graph, batch_size=3)
    message = str(caught.value)
    assert all(says(message, part) for part in (named, "NaN…1 of 12", "TableScorer", "'random'"))


def test_nan_in_the_first_or_last_column_is_seen(random_graph):
    graph = random_graph(0, entities=1003)
    for place in (0, 7, 501, 1001, 1002):
        scores = torch.zeros(1, 1, 1003).expand(1003, 3, 1003).clone()
        scores[:, :, place] = torch.nan
        with pytest.raises(PmdError, match="NaN"):
            ranks(TableScorer({"tail": scores}), graph, targets=("tail",), max_triples=1)


def test_unusable_requests_say_why(random_graph):
    graph = random_graph()
    scorer = tied_scorer(graph)
    with pytest.raises(PmdError, match=r"'dev'.*train, valid, test"):
        ranks(scorer, graph, "dev")
    with pytest.raises(PmdError, match=r"'head'.*'tail'.*\('tails',\)"):
        ranks(scorer, graph, targets=("tails",))
    with pytest.raises(PmdError, match="not 'tail'"):
        ranks(scorer, graph, targets="tail")
    with pytest.raises(PmdError, match=r"batch_size.*1.*0"):
        ranks(scorer, graph, batch_size=0)
    with pytest.raises(PmdError, match="max_triples"):
        ranks(scorer, graph, max_triples=0)
    with pytest.raises(PmdError, match=r"\(\d+, 13\).*'random'.*\(\d+, 12\)"):
        ranks(tied_scorer(random_graph(entities=13)), graph)


def test_an_empty_split_has_no_metrics(random_graph):
    graph = random_graph(test=0)
    found = ranks(tied_scorer(graph), graph)
    assert len(found.head) == len(found.tail) == 0
    with pytest.raises(PmdError, match="empty"):
        RankingMetrics.from_ranks(found)


def test_rank_summarises_ranks(random_graph):
    graph = random_graph()
    scorer = tied_scorer(graph)
    options = {"filtered": False, "targets": ["head"]}
    assert rank(scorer, graph, "valid", **options) == RankingMetrics.from_ranks(
        ranks(scorer, graph, "valid", **options)
    )


def test_what_scores_nothing_is_named(random_graph):
    with pytest.raises(PmdError, match=r"^dict has no score_all\(triples, target\); pmd.load_scorer"):
        rank({}, random_graph())


def test_rerank_adjusts_before_the_comparison(random_graph):
    graph = random_graph()

    class Reverse:
        def adjust(self, scores, triples, target):
            return -scores

    scorer = tied_scorer(graph)
    negative = TableScorer({target: -table for target, table in scorer.tables.items()})
    assert rank(scorer, graph, rerank=Reverse()) == rank(negative, graph) != rank(scorer, graph)


@pytest.mark.parametrize("filtered", [True, False])
def test_equals_pykeen(random_graph, filtered):
    pytest.importorskip("pykeen")
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.evaluation.evaluator import create_sparse_positive_filter_, filter_scores_

    graph = random_graph(8, entities=40, train=400, valid=60, test=90)
    scorer = tied_scorer(graph, 8, values=6)
    evaluator = RankBasedEvaluator(filtered=filtered)
    for target, column in (("head", 0), ("tail", 2)):
        # A copy, as PyKEEN overwrites the known answers with NaN.
        scores = scorer.score_all(graph.test, target).clone()
        true = scores.gather(1, graph.test[:, [column]])
        if filtered:
            known, _ = create_sparse_positive_filter_(graph.test, graph.known_triples(), filter_col=column)
            scores = filter_scores_(scores, known)
            scores.scatter_(1, graph.test[:, [column]], true)
        evaluator.process_scores_(graph.test, target, scores, true_scores=true)
    theirs, ours = evaluator.finalize(), rank(scorer, graph, filtered=filtered)
    names = {"mrr": "inverse_harmonic_mean_rank", "mr": "arithmetic_mean_rank"}
    names |= {f"hits_at_{k}": f"hits_at_{k}" for k in (1, 3, 10)}
    for side, part in (("both", ours), ("head", ours.head), ("tail", ours.tail)):
        for kind, summary in (
            ("realistic", part),
            ("optimistic", part.optimistic),
            ("pessimistic", part.pessimistic),
        ):
            for mine, name in names.items():
                expected = theirs.get_metric(f"{side}.{kind}.{name}")
                assert getattr(summary, mine) == pytest.approx(expected, abs=1e-6), (side, kind, name)
