import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.trust.sides import COLUMNS, log_shares, measured, realistic_ranks, scored_queries, sides_of

from ..evaluation.oracle import TableScorer
from .tabled import tabled

BETAS = [0.5, 2.0]


def test_the_example_by_hand():
    scores, answers, known = np.array([2.0, 1.0, 1.0, 0.0]), np.array([1]), np.array([0])
    assert realistic_ranks(scores, answers, known).tolist() == [1.5]
    shares = np.exp(log_shares(scores, answers, known, np.array([1.0])))
    assert shares == pytest.approx(1 / (2 + math.exp(-1)), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_both_sides_are_those_of_loops_and_of_the_ranking(seed, random_graph, tmp_path):
    graph = random_graph(seed)
    model = tabled(graph, tmp_path / "model", seed=seed)
    triples = np.concatenate([graph.valid.numpy(), graph.test.numpy()[:5]])
    sides = sides_of(model, triples, BETAS)
    ranks = pmd.ranks(model.scorer, graph, "valid")
    assert sides.ranks[:12].tolist() == torch.stack([ranks.head.realistic, ranks.tail.realistic], 1).tolist()
    everything = graph.known_triples().tolist()
    for row, (head, relation, tail) in enumerate(triples.tolist()):
        for side, (target, (known_column, column)) in enumerate(COLUMNS.items()):
            entity = (head, None, tail)[known_column]
            scores = model.scorer.tables[target][entity, relation].tolist()
            answer = (head, None, tail)[column]
            answers = {t[column] for t in everything if t[1] == relation and t[known_column] == entity}
            rivals = [scores[e] for e in range(graph.num_entities) if e not in answers - {answer}]
            assert sides.scores[row, side] == scores[answer]
            for k, beta in enumerate(BETAS):
                share = math.exp(beta * scores[answer]) / sum(math.exp(beta * score) for score in rivals)
                assert math.exp(sides.shares[row, side, k]) == pytest.approx(share, rel=1e-9)


def test_every_distinct_query_is_scored_once(random_graph, tmp_path):
    graph = random_graph(0)
    model = tabled(graph, tmp_path / "model")
    triples = np.concatenate([graph.train.numpy(), graph.train.numpy()])
    for target, (column, _) in COLUMNS.items():
        model.scorer.batches.clear()
        rows = [row for rows, _ in scored_queries(model, triples, target) for row in rows.tolist()]
        assert sorted(rows) == [*range(len(triples))]
        assert len(model.scorer.batches) == len(np.unique(triples[:, [column, 1]], axis=0))


def test_the_other_graph_of_an_inductive_data_set_does_not_compete(random_graph, tmp_path):
    graph = random_graph(entities=14)
    graph = replace(graph, **{name: graph.split(name) % torch.tensor([6, 3, 6]) for name in ("train", "valid", "test")})
    graph = replace(graph, splits={"inductive_train": graph.train + torch.tensor([7, 0, 7])})
    model = tabled(graph, tmp_path / "model")
    (_, scores), *_ = scored_queries(model, graph.valid.numpy(), "tail")
    assert np.isfinite(scores[:6]).any() and np.isinf(scores[7:13]).all()
    ranks = pmd.ranks(model.scorer, graph, "valid")
    assert sides_of(model, graph.valid.numpy(), []).ranks[:, 1].tolist() == ranks.tail.realistic.tolist()


def test_measures_are_means_of_both_sides(random_graph, tmp_path):
    graph = random_graph(1)
    sides = sides_of(tabled(graph, tmp_path / "model"), graph.valid.numpy(), BETAS)
    assert measured(sides, "score").tolist() == sides.scores.mean(1).tolist()
    assert measured(sides, "share") == pytest.approx(sides.shares[:, :, 0].mean(1))
    assert measured(sides, "rank") == pytest.approx([-np.log(row).mean() for row in sides.ranks])


def test_nan_is_named(random_graph, tmp_path):
    graph = random_graph(0)
    size = (graph.num_entities, graph.num_relations, graph.num_entities)
    broken = TableScorer({target: torch.full(size, math.nan) for target in COLUMNS})
    with pytest.raises(PmdError, match="NaN"):
        sides_of(tabled(graph, tmp_path / "model", broken), graph.valid.numpy(), [])
