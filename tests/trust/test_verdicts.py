import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pmd.evaluation.classification import best_threshold
from pmd.trust import verdicts
from pmd.trust.relations import relation_ranks
from pmd.trust.sides import MEASURES, measured
from pmd.trust.verdicts import SLOPES, Judge, confidence_slope, false_triples, inverse_temperature, learn, sampled

from ..evaluation.oracle import TableScorer
from .tabled import tabled


def knowing_scorer(graph, noise=0.3):
    """True triples score about 1 more than false ones, in the units of their query: every third query counts in tens."""
    generator = torch.Generator().manual_seed(0)
    tables = {}
    for target, (known, answer) in {"head": (2, 0), "tail": (0, 2)}.items():
        size = (graph.num_entities, graph.num_relations, graph.num_entities)
        table = noise * torch.randn(size, generator=generator)
        for triple in graph.known_triples().tolist():
            table[triple[known], triple[1], triple[answer]] += 1
        tables[target] = table
    return TableScorer(tables)


@pytest.fixture
def model(random_graph, tmp_path):
    graph = random_graph(0, entities=25, relations=3, train=90, valid=80, test=40)
    return tabled(graph, tmp_path / "model", knowing_scorer(graph))


def test_what_is_learned_judges_better_than_chance_and_survives_json(model):
    judge = learn(model)
    assert Judge.read(json.loads(json.dumps(judge.stored))) == judge
    assert judge.triples in MEASURES and judge.relations in MEASURES
    test = model.index.triples("test")
    false = false_triples(model.index, test, seed=9)
    triples, labels = np.concatenate([test, false]), np.arange(len(test) + len(false)) < len(test)
    values = judge.values(judge.sides(model, triples))
    assert ((values >= judge.thresholds_of(triples[:, 1])) == labels).mean() > 0.85


def test_a_relation_with_enough_triples_has_the_best_threshold_of_its_own(model, monkeypatch):
    monkeypatch.setattr(verdicts, "ENOUGH", 26)
    judge = learn(model)
    true = model.index.triples("valid")
    counts = np.bincount(true[:, 1])
    assert {*judge.thresholds} == {*np.flatnonzero(counts >= 26).tolist()} and 0 < len(judge.thresholds) < 3
    triples = np.concatenate([true, false_triples(model.index, true, 0)])
    labels, values = np.arange(len(triples)) < len(true), judge.values(judge.sides(model, triples))
    assert judge.threshold == best_threshold(labels, values)
    for relation, threshold in judge.thresholds.items():
        rows = triples[:, 1] == relation
        assert threshold == best_threshold(labels[rows], values[rows])
        assert judge.thresholds_of(np.array([relation])).tolist() == [threshold]


def test_the_temperature_makes_the_answers_of_validation_most_likely(model):
    true = model.index.triples("valid")
    beta = inverse_temperature(model, true)
    model.scorer.tables = {target: 10 * table for target, table in model.scorer.tables.items()}
    assert inverse_temperature(model, true) == pytest.approx(beta / 10, rel=1e-4)


def test_false_triples_of_the_data_set_are_taken_before_generated_ones(random_graph, tmp_path):
    graph = random_graph(0)
    labelled = torch.tensor([[0, 1, 2], [3, 2, 4]])
    graph = replace(graph, negatives={"valid": labelled})
    model = tabled(graph, tmp_path / "model")
    assert false_triples(model.index, graph.valid.numpy(), 0).tolist() == labelled.tolist()
    assert learn(model).learned_from == (len(torch.unique(graph.valid, dim=0)), 2)


def test_without_validation_nothing_is_learned(random_graph, tmp_path):
    graph = random_graph(0)
    assert learn(tabled(replace(graph, valid=graph.valid[:0]), tmp_path / "model")) is None


def test_ranks_of_relations_leave_out_others_that_are_known():
    values = np.array([[3.0, 2.0, 2.0, 1.0], [0.0, 1.0, 1.0, 5.0]])
    known = np.array([[True, False, True, False], [False, True, False, False]])
    assert relation_ranks(values, np.array([1, 1]), known).tolist() == [1.0, 2.5]
    assert relation_ranks(values, np.array([1, 1]), ~known & known).tolist() == [2.5, 2.5]


def test_a_sample_keeps_the_order():
    triples = np.arange(30).reshape(10, 3)
    assert sampled(triples, 10, 0) is triples
    drawn = sampled(triples, 4, 0)
    assert len(drawn) == 4 and (np.diff(drawn[:, 0]) > 0).all()


def test_measures_order_true_before_false(model):
    true = model.index.triples("valid")
    false = false_triples(model.index, true, 0)
    judge = learn(model)
    for measure in MEASURES:
        means = [measured(judge.sides(model, triples), measure).mean() for triples in (true, false)]
        assert means[0] > means[1]


def test_the_slope_of_the_confidence_makes_the_labels_most_likely():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 4, 4000)
    labels = rng.random(4000) < 1 / (1 + np.exp(-0.7 * margins))
    assert confidence_slope(labels, margins) == pytest.approx(0.7, rel=0.1)
    assert confidence_slope(labels, 10 * margins) == pytest.approx(0.07, rel=0.1)
    few = np.append(margins[labels], margins[~labels][:200]), np.append(labels[labels], labels[~labels][:200])
    assert confidence_slope(few[1], few[0]) == pytest.approx(0.7, rel=0.2)  # labels in equal weight
    never_wrong = confidence_slope(margins > 0, margins)
    assert 0 < never_wrong < SLOPES[-1] / margins.std()
