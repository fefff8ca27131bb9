"""Types by value: the log-odds of plain loops, scores by hand, factors chosen where they help and not where they do not."""

import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

import pmd
from pmd.data.texts.ragged import Ragged
from pmd.trust.type_learning import declared_types, learn_types, types_of_graph
from pmd.trust.types import Types
from pmd.trust.validation import ValidationScores

from ..tiny import tiny_graph


def places_of(graph, triples):
    """The places of each entity as a set, by a plain loop."""
    places = [set() for _ in range(graph.num_entities)]
    for head, relation, tail in triples.tolist():
        places[tail].add(relation)
        places[head].add(relation + graph.num_relations)
    return places


def test_the_log_odds_are_those_of_a_plain_loop():
    graph = tiny_graph()
    types, places = types_of_graph(graph), places_of(graph, graph.train)
    distinct = {tuple(triple) for triple in graph.train.tolist()}
    for question in range(2 * graph.num_relations):
        relation, end = question % graph.num_relations, 2 if question < graph.num_relations else 0
        answers = [triple[end] for triple in distinct if triple[1] == relation]
        members = set(answers)
        for feature in range(2 * graph.num_relations):
            base = sum(feature in row for row in places) / graph.num_entities
            if feature == question:
                shared = sum(answers.count(entity) > 1 for entity in members)
            else:
                shared = sum(feature in places[entity] for entity in members)
            expected = math.log((shared + base) / (len(members) + 1) / base)
            assert types.weights[question, feature] == pytest.approx(expected, abs=1e-6)
    for entity, row in enumerate(places):
        assert {*types.features[entity].tolist()} == row


def by_hand(**facts):
    """Two questions, three entities: one at place 0 and of type 2, one at both places, one unknown."""
    weights = np.array([[1, -2, 3], [0.5, 1, -1]], dtype=np.float32)
    features = Ragged.from_rows([[0, 2], [0, 1], []])
    return Types(weights, features, np.array([0.0, 0.0]), None, {"factor": 0.5, "damping": 1.0, "declared": 0, **facts})


def test_what_fits_is_added_in_units_of_the_spread():
    scores = np.array([[1, 2, 3], [0, 0, 6]], dtype=np.float32)
    spread = scores.std(1)
    fits = np.array([[2, -0.5, 0], [-0.25, 0.75, 0]])
    adjusted = by_hand().adjusted(scores, np.array([0, 1]))
    np.testing.assert_allclose(adjusted, scores + 0.5 * spread[:, None] * fits, rtol=1e-6)
    summed = by_hand(damping=0.0).adjusted(scores, np.array([0, 1]))
    np.testing.assert_allclose(
        summed, scores + 0.5 * spread[:, None] * np.array([[4, -1, 0], [-0.5, 1.5, 0]]), rtol=1e-6
    )
    assert by_hand().adjusted(scores, np.array([0, 1]), "off") is scores
    assert by_hand(factor=0.0).adjusted(scores, np.array([0, 1])) is scores


def test_what_a_search_leaves_out_has_no_part_in_the_spread():
    scores = np.array([[1, -np.inf, 3], [1, 2, 3]], dtype=np.float32)
    adjusted = by_hand().adjusted(scores, np.array([0, 0]))
    assert adjusted[0] == pytest.approx([1 + 0.5 * 1 * 2, -np.inf, 3])
    assert adjusted[1] == pytest.approx([1 + 0.5 * scores[1].std() * 2, 2 - 0.25 * scores[1].std(), 3])


def test_strict_leaves_out_what_does_not_fit_and_nothing_unknown():
    scores = np.zeros((1, 3), dtype=np.float32)
    assert np.isneginf(by_hand(factor=0.0).adjusted(scores, np.array([0]), "strict")).tolist() == [[False, True, False]]
    declared = replace(by_hand(factor=0.0), allowed=np.array([[True], [False]]))
    left_out = [np.isneginf(declared.adjusted(scores, np.array([q]), "strict"))[0].tolist() for q in (0, 1)]
    assert left_out == [[False, False, False], [True, False, False]]  # the second and third have no declared type


def test_stored_types_are_the_same():
    types = replace(by_hand(declared=1), allowed=np.array([[True], [False]]))
    again = Types.stored(types.columns().__getitem__, types.facts)
    scores = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    for mode in ("soft", "strict"):
        expected = types.adjusted(scores, np.array([0, 1]), mode)
        np.testing.assert_array_equal(again.adjusted(scores, np.array([0, 1]), mode), expected)


def test_types_are_declared_or_prefixes_of_ids():
    graph = tiny_graph()
    assert declared_types(graph) is None  # e0, e1 …
    ids = [f"{'ab'[i % 2]}:{i}" for i in range(40)]
    more = replace(graph, entity_ids=ids, entity_names=ids, entity_descriptions=ids)
    assert declared_types(more)[:2] == [("a",), ("b",)]
    assert declared_types(replace(more, entity_ids=[f"http://x/{i}" for i in range(40)])) is None
    assert declared_types(replace(more, entity_ids=[f"n{i}:x" for i in range(40)])) is None  # a prefix each
    assert declared_types(replace(more, types={"a:2": ["Town", "Town"]}))[1:3] == [(), ("Town",)]


def test_what_was_chosen_ranks_as_ranking_does():
    """On `world` a model of random weights gains much by types, and its MRR without them is that of `pmd.rank`."""
    graph = pmd.load_graph("world")
    torch.manual_seed(0)
    noise = pmd.KgeModel("rotate", num_entities=graph.num_entities, num_relations=graph.num_relations, dim=4)
    facts = learn_types(graph, ValidationScores(noise, graph)).facts
    assert facts["declared"] == 7 and facts["queries"] == 2 * len(graph.valid)
    assert facts["mrr"] > 3 * facts["mrr_without"] and facts["factor"] > 0
    assert facts["mrr_without"] == pytest.approx(pmd.rank(noise, graph, "valid").mrr, abs=1e-9)


class Oracle:
    """Scores by which every answer is first."""

    def __init__(self, graph):
        self.graph = graph

    def score_all(self, triples, target):
        answers = triples[:, 0 if target == "head" else 2]
        return torch.zeros(len(triples), self.graph.num_entities).scatter(1, answers[:, None], 1.0)


def test_types_that_do_not_help_do_not_count():
    graph = pmd.load_graph("world")
    types = learn_types(graph, ValidationScores(Oracle(graph), graph))
    assert types.facts["factor"] == 0 and types.facts["mrr"] == types.facts["mrr_without"] == 1


def test_an_entity_of_the_other_graph_is_known_by_the_facts_there(random_graph):
    graph = random_graph(entities=14)
    parts = {name: graph.split(name) % torch.tensor([6, 3, 6]) for name in ("train", "valid", "test")}
    beside = graph.train % torch.tensor([6, 3, 6]) + torch.tensor([6, 0, 6])
    graph = replace(graph, **parts, splits={"inductive_train": beside})
    types = types_of_graph(graph)
    places = places_of(graph, torch.cat([graph.train, beside]))
    assert [{*types.features[entity].tolist()} for entity in range(14)] == places
    assert not len(types.features[12]) and types.fit(0)[12] == 0
    assert types.fit(0) is types.fit(0)  # a question that comes again costs nothing


def test_kept_fits_do_not_keep_their_owner(random_graph):
    gc.disable()
    try:
        types = types_of_graph(random_graph())
        types.fit(0)
        owner = weakref.ref(types)
        del types
        assert owner() is None
    finally:
        gc.enable()
