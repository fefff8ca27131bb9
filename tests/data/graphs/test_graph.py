"""`KnowledgeGraph`: splits, the two graphs of an inductive data set, and the checksum."""

from dataclasses import replace

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.data.graphs.graph import KnowledgeGraph


def triples(*rows):
    return torch.tensor(rows, dtype=torch.int64)


@pytest.fixture
def inductive():
    """Entities 0 to 2 are the training graph, 3 to 5 the inductive one."""
    return KnowledgeGraph(
        name="two",
        entity_ids=list("abcdef"),
        entity_names=list("ABCDEF"),
        entity_descriptions=[""] * 6,
        relation_ids=["r"],
        relation_names=["R"],
        train=triples((0, 0, 1)),
        valid=triples((1, 0, 0)),
        test=triples((0, 0, 0)),
        splits={
            "inductive_train": triples((5, 0, 3)),
            "inductive_valid": triples((3, 0, 5)),
            "inductive_test": triples((3, 0, 3)),
        },
    )


def test_an_inductive_data_set_is_two_graphs(inductive):
    assert inductive.split_names == [
        "train",
        "valid",
        "test",
        "inductive_train",
        "inductive_valid",
        "inductive_test",
    ]
    assert inductive.known_triples("valid").tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert inductive.known_triples("inductive_test").tolist() == [[5, 0, 3], [3, 0, 5], [3, 0, 3]]
    assert inductive.visible_triples("test").tolist() == [[0, 0, 1]]
    assert inductive.visible_triples("inductive_test").tolist() == [[5, 0, 3]]
    assert inductive.candidates("test").tolist() == [0, 1]  # entity 2 is in no triple
    assert inductive.candidates("inductive_valid").tolist() == [3, 5]


def test_a_graph_without_inductive_splits_ranks_among_all(inductive):
    plain = replace(inductive, splits={})
    assert plain.candidates("test") is None
    assert plain.known_triples().tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_an_unknown_split_says_which_there_are(inductive):
    with pytest.raises(PmdError, match=r"'dev'.*train, valid, test, inductive_train"):
        inductive.split("dev")
    with pytest.raises(PmdError, match=r"'inductive_train'.*train, valid, test"):
        replace(inductive, splits={}).visible_triples("inductive_test")


def test_the_checksum_sees_every_part_but_the_name(inductive):
    same = replace(inductive, name="other", train=inductive.train.clone())
    assert same.checksum() == inductive.checksum()
    changes = [
        {"entity_ids": list("abcdeg")},
        {"entity_names": list("ABCDEG")},
        {"entity_descriptions": [""] * 5 + ["x"]},
        {"relation_ids": ["s"]},
        {"relation_names": ["S"]},
        {"train": triples((1, 0, 1))},
        {"valid": inductive.test, "test": inductive.valid},
        {"splits": {}},
    ]
    assert len({replace(inductive, **change).checksum() for change in changes} | {inductive.checksum()}) == 9


def test_types_are_part_of_the_checksum_where_there_are_any(inductive):
    plain = inductive.checksum()
    assert replace(inductive, types={}).checksum() == replace(inductive, types={"e0": ()}).checksum() == plain
    first, second = inductive.entity_ids[:2]
    typed = replace(inductive, types={first: ["Town", "Place"], second: ["Place"]})
    again = replace(inductive, types={second: ["Place"], first: ["Place", "Town"]})
    assert typed.checksum() == again.checksum() != plain == typed.checksum(types=False)
    assert typed.checksum() != replace(inductive, types={first: ["Town"], second: ["Place"]}).checksum()
    assert typed.has_checksum(plain) and typed.has_checksum(typed.checksum())
    assert not inductive.has_checksum(typed.checksum()) and not typed.has_checksum(None)


def test_the_checksum_does_not_depend_on_the_layout_in_memory(inductive):
    columns = torch.stack([inductive.train, inductive.train], dim=0)[0].T.contiguous().T
    assert replace(inductive, train=columns).checksum() == inductive.checksum()
