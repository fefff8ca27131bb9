"""What differs between two states of a graph, counted by hand, and new facts as the graph has them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pmd.data.graphs.graph import KnowledgeGraph
from pmd.recipes.update.changes import Changes, GraphState
from pmd.recipes.update.measure import NewFacts

OLD = KnowledgeGraph(
    "old",
    ["a", "b", "c", "d"],
    ["A", "B", "C", "D"],
    ["", "b it is", "", ""],
    ["r", "s"],
    ["R", "S"],
    train=torch.tensor([(0, 0, 1), (1, 0, 2), (2, 1, 3)]),
    valid=torch.tensor([(0, 1, 2)]),
    test=torch.tensor([(1, 1, 0)]),
)
NEWER = KnowledgeGraph(
    "newer",
    ["c", "x", "b", "a"],  # d is gone, x is new, the others are in another order
    ["C", "X", "Bee", "A"],
    ["", "", "b it was", ""],
    ["s", "r", "t"],
    ["S", "R", "T"],
    train=torch.tensor([(3, 1, 2), (3, 0, 0), (3, 0, 0), (1, 2, 2)]),  # a r b, a s c (once valid), x t b
    valid=torch.tensor([(1, 1, 0)]),  # x r c
    test=torch.tensor([(2, 0, 3)]),  # b s a, as before
)


def changes(old=OLD, newer=NEWER):
    return Changes(GraphState.of_graph(old), GraphState.of_graph(newer))


def test_changes_are_counted_by_ids():
    found = changes()
    assert found.entities.tolist() == [2, -1, 1, 0] and found.relations.tolist() == [1, 0, -1]
    assert found.counts == {
        "entities": {"new": 1, "changed": 0, "gone": 1},
        "names": {"new": 0, "changed": 1, "gone": 0},
        "descriptions": {"new": 0, "changed": 1, "gone": 0},
        "relations": {"new": 1, "changed": 0, "gone": 0},
        "relation names": {"new": 0, "changed": 0, "gone": 0},
        "facts, train": {"new": 1, "changed": 1, "gone": 2},
        "facts, valid": {"new": 1, "changed": 0, "gone": 0},
        "facts, test": {"new": 0, "changed": 0, "gone": 0},
    }
    assert found.new_facts["train"].tolist() == [[1, 2, 2]] and found.new_facts["valid"].tolist() == [[1, 1, 0]]
    assert found.reordered and not found.is_empty


def test_the_same_graph_has_no_changes():
    assert changes(OLD, OLD).is_empty
    other_order = replace(OLD, train=OLD.train[[2, 0, 1, 1]])
    assert changes(OLD, other_order).is_empty  # a fact twice is the same fact


def test_splits_may_come_and_go():
    more = replace(OLD, splits={"more": torch.tensor([(3, 0, 3)])})
    assert changes(OLD, more).counts["facts, more"] == {"new": 1, "changed": 0, "gone": 0}
    assert changes(more, OLD).counts["facts, more"] == {"new": 0, "changed": 0, "gone": 1}


class Counting:
    """Scores an entity by its position, and keeps the graphs that it was made for."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph):
        self.graphs.append(graph)
        return self

    def score_all(self, triples, target):
        return -torch.arange(4.0).expand(len(triples), 4)


@pytest.mark.parametrize("placed", [False, True])
def test_new_training_facts_are_ranked_as_if_they_were_not_there(placed):
    scorer = Counting()
    new = NewFacts(NEWER, changes().new_facts, np.array([False, True, False, False]), placed)
    measured = new.measured(scorer, 10, 8)
    of_train = measured["train"]["a new entity, placed by them" if placed else "a new entity"]
    # (x, t, b): head x is second of all, tail b third.
    assert of_train["mrr"] == pytest.approx((1 / 2 + 1 / 3) / 2) and of_train["num_queries"] == 2
    # (x, r, c): head x is second, as a r c is no fact; tail c is first.
    assert measured["valid"]["a new entity"]["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    shown, whole = scorer.graphs
    assert shown.train.tolist() == [[3, 1, 2], [3, 0, 0], [3, 0, 0]] and whole is NEWER
