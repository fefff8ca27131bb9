"""What is done in other ways, or of fewer questions, where there are millions of entities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import pmd
from pmd.data.texts import ragged
from pmd.trust import calibration, relations, sides, validation, verdicts
from pmd.trust.hard_negatives import _entities_at
from pmd.trust.held_out import _without, held_out
from pmd.trust.sides import QUERIES_PER_BLOCK, _counted, affordable, scored_queries
from pmd.trust.type_learning import types_of_graph
from pmd.trust.validation import ValidationScores

from .tabled import tabled


def test_fewer_queries_are_asked_of_more_entities():
    assert [affordable(8192, 200, n) for n in (1, 100_000, 131_072, 262_144, 4_594_485, 10**9)] == [
        8192,
        8192,
        8192,
        4096,
        233,
        200,
    ]


@pytest.fixture
def graph(random_graph):
    return random_graph(0, entities=30, relations=8, train=90, valid=80, test=10)


def test_every_lesson_is_learned_of_fewer_queries(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "MAX_SCORES", 60 * graph.num_entities)
    for module, name in ((calibration, "MIN_TRIPLES"), (validation, "MIN_TRIPLES"), (verdicts, "AT_LEAST")):
        monkeypatch.setattr(module, name, 5)
    monkeypatch.setattr(relations, "PAIRS", 10)
    model = tabled(graph, tmp_path / "model")
    model.scorer.batches.clear()
    judge, (facts, _) = verdicts.learn(model), calibration.learn_calibration(model)
    assert judge.learned_from == (10, 10) and facts["splits"] == {"valid": 60}
    assert len(ValidationScores(model.scorer, graph)) == 60
    assert sum(model.scorer.batches) <= 10 + 60 + 2 * 10 * 4 + 60  # a spread, verdicts, relations, probabilities


def test_few_scores_in_memory_are_the_same_scores(graph, tmp_path, monkeypatch):
    model, triples = tabled(graph, tmp_path / "model"), graph.train.numpy()

    def all_scores():
        return [(rows.tolist(), scores.tolist()) for rows, scores in scored_queries(model, triples, "tail")]

    expected, sizes = all_scores(), []
    whole = model.query_scores
    object.__setattr__(model, "query_scores", lambda *query: sizes.append(len(query[1])) or whole(*query))
    monkeypatch.setattr(sides, "SCORES_PER_BLOCK", 3 * graph.num_entities)
    assert all_scores() == expected and max(sizes) == 3 < QUERIES_PER_BLOCK


def test_scores_are_counted_one_by_one_as_in_order(monkeypatch):
    random = np.random.default_rng(0)
    scores, own = random.integers(0, 9, 200).astype(np.float32), np.array([0, 3, 9, -np.inf], np.float32)
    few = _counted(scores, own)
    monkeypatch.setattr(sides, "FEW", 0)
    assert few.tolist() == _counted(scores, own).tolist()


def test_what_is_left_of_sorted_numbers_is_looked_up():
    random = np.random.default_rng(0)
    for _ in range(30):
        numbers = np.sort(random.integers(0, 12, 20)).astype(np.float32)
        removed = random.choice(20, random.integers(0, 21), replace=False)
        left = np.append(np.delete(numbers, removed), np.full(len(removed), np.inf))
        ranks = np.sort(random.choice(20, 6, replace=False))
        assert _without(numbers, numbers[removed], ranks).tolist() == left[ranks].tolist()


def test_entities_at_a_place_are_those_of_distinct_rows():
    seen = np.random.default_rng(0).integers([0, 0, 0], [9, 4, 7], (60, 3))
    for column in (0, 2):
        pairs = np.unique(seen[:, [1, column]], axis=0)
        entities, offsets = _entities_at(seen, column, 5)
        assert entities.tolist() == pairs[:, 1].tolist()
        assert offsets.tolist() == np.searchsorted(pairs[:, 0], np.arange(6)).tolist()


def test_fits_of_some_entities_and_ranks_part_by_part(graph, monkeypatch):
    types = replace(types_of_graph(graph), facts={"declared": 0, "factor": 0.5, "damping": 0.5})
    some, fits = np.array([7, 0, 7, 29]), types.fit(3)
    assert types.of(some).fit(3).tolist() == fits[some].tolist()
    monkeypatch.setattr(ragged, "BLOCK", 4)
    assert replace(types).fit(3).tolist() == fits.tolist()
    torch.manual_seed(0)
    model = pmd.KgeModel("rotate", num_entities=graph.num_entities, num_relations=graph.num_relations, dim=2)
    monkeypatch.setattr(validation, "PART", 7)
    chunks = [*ValidationScores(model, graph)]
    ranks = pmd.ranks(model, graph, "valid")
    for chunk, side in zip(chunks, (ranks.head, ranks.tail)):
        assert chunk.reciprocal_ranks() == pytest.approx(1 / side.realistic.numpy())
        shift = np.random.default_rng(0).normal(size=chunk.scores.shape).astype(np.float32)
        moved = replace(chunk, scores=chunk.scores + shift).reciprocal_ranks()
        assert chunk.reciprocal_ranks(lambda scores, at, shift=shift: scores + shift[at]).tolist() == moved.tolist()


def test_held_out_questions_do_not_depend_on_blocks(graph, tmp_path, monkeypatch):
    model = tabled(graph, tmp_path / "model")
    expected = held_out(model, ["valid"])
    monkeypatch.setattr(sides, "SCORES_PER_BLOCK", graph.num_entities)
    for one, other in zip(expected, held_out(model, ["valid"])):
        assert all(np.array_equal(vars(one)[key], vars(other)[key]) for key in vars(one))
