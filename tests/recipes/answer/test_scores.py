"""Answers of every kind of model, by value: the scores that are ranked, the marks of a plain loop."""

from dataclasses import replace

import pytest
import torch

import pmd

from ...asked import MODELS, write_model
from ...tiny import tiny_graph


@pytest.fixture(params=MODELS)
def asked(request, tmp_path):
    """A model that can be asked, and its folder."""
    folder = write_model(request.param, tmp_path / request.param, tiny_graph())
    return pmd.load(folder, tiny_graph()), folder


def all_queries(graph):
    return [(entity, relation) for entity in range(graph.num_entities) for relation in range(graph.num_relations)]


@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize("target", ["head", "tail"])
def test_scores_are_those_that_are_ranked(asked, target, width):
    model, folder = asked
    graph, known = tiny_graph(), "head" if target == "tail" else "tail"
    scorer = pmd.load_scorer(folder, graph)
    model = model if width is None else model.crop(width)
    queries = all_queries(graph)
    triples = torch.tensor([(entity, relation, entity) for entity, relation in queries])
    with torch.no_grad():
        expected = scorer.score_all(triples, target, width=width)
    questions = [
        model.question(**{known: graph.entity_ids[entity], "relation": graph.relation_ids[relation]})
        for entity, relation in queries
    ]
    for row, answers in enumerate(model.answer_all(questions, top_k=99, types="off", all=True)):
        assert len(answers) == graph.num_entities and [answer.rank for answer in answers] == [*range(1, 14)]
        scores = torch.tensor([answer.score for answer in answers])
        found = [graph.entity_ids.index(answer.id) for answer in answers]
        torch.testing.assert_close(scores, expected[row][found], atol=5e-6, rtol=0)
        assert (scores.diff() <= 0).all() and sorted(found) == [*range(13)]
        assert [answer.name for answer in answers] == [graph.entity_names[place] for place in found]


def test_another_encoder_answers_by_itself(tmp_path, monkeypatch):
    folder = write_model("text", tmp_path / "text", tiny_graph())
    plain = pmd.load(folder, tiny_graph()).answer(head="e7", relation="near")
    monkeypatch.setattr("pmd.use.text_models.can_read", lambda folder, settings: False)
    other = pmd.load(folder).answer(head="e7", relation="near")
    assert [answer.id for answer in other] == [answer.id for answer in plain]
    assert [a.score for a in other] == pytest.approx([a.score for a in plain], abs=5e-6)


@pytest.mark.parametrize("target", ["head", "tail"])
def test_a_described_entity_is_read_like_one_of_the_graph(target, tmp_path):
    graph, new = tiny_graph(), "a lake [SEP] in the hills, naïve and 東京, " + "that runs through old towns " * 8
    folder = write_model("text", tmp_path / "text", graph)
    larger = replace(
        graph,
        entity_ids=[*graph.entity_ids, "new"],
        entity_names=[*graph.entity_names, ""],
        entity_descriptions=[*graph.entity_descriptions, new],
    )
    expected = pmd.load_scorer(folder, larger).score_all(torch.tensor([[13, 1, 13]]), target)[0, :13]
    answers = pmd.load(folder, graph).answer(text=new, relation="r1", target=target, top_k=13, types="off")
    assert answers.text == new and answers.head is answers.tail is None and answers.target == target
    for answer in answers:
        assert answer.score == pytest.approx(float(expected[int(answer.id[1:])]), abs=5e-6)
        assert answer.known == ()


@pytest.mark.parametrize("seed", [0, 1])
def test_known_answers_are_marked_with_their_splits(seed, random_graph, tmp_path):
    graph = random_graph(seed)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    splits = {name: graph.split(name).tolist() for name in graph.split_names}
    marks = 0
    for entity, relation in all_queries(graph):
        for known in ("head", "tail"):
            asked = {known: graph.entity_ids[entity], "relation": graph.relation_ids[relation]}
            answers, new = (model.answer(**asked, top_k=99, **{which: True}) for which in ("all", "new"))
            assert len(answers) == graph.num_entities
            for answer in answers:
                other = graph.entity_ids.index(answer.id)
                triple = [entity, relation, other] if known == "head" else [other, relation, entity]
                assert list(answer.known) == [name for name, triples in splits.items() if triple in triples]
                marks += len(answer.known)
            assert [answer.id for answer in new] == [answer.id for answer in answers if not answer.known]
            apart, marked = model.answer(**asked, top_k=99), [answer for answer in answers if answer.known]
            assert apart.answers == new.answers and (answers.known, new.known) == ((), ())
            first = {answer.id: min(map([*splits].index, answer.known)) for answer in marked}
            assert list(apart.known) == sorted(marked, key=lambda answer: (first[answer.id], answer.rank))
            assert apart.num_known == len(marked)
    assert marks == 2 * sum(len({tuple(triple) for triple in triples}) for triples in splits.values())


def test_the_two_graphs_of_an_inductive_data_set_stay_apart(random_graph, tmp_path):
    graph = random_graph(entities=14)
    graph = replace(graph, **{name: graph.split(name) % torch.tensor([6, 3, 6]) for name in ("train", "valid", "test")})
    more = {f"inductive_{name}": graph.split(name) + torch.tensor([6, 0, 6]) for name in ("train", "valid", "test")}
    graph = replace(graph, splits=more)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    for split, entity in (("test", 2), ("inductive_test", 8)):
        ids = {graph.entity_ids[place] for place in graph.candidates(split).tolist()}
        assert {answer.id for answer in model.answer(head=f"e{entity}", relation="r0", top_k=99, all=True)} == ids
    assert len(model.answer(head="e13", relation="r0", top_k=99, all=True)) == 14  # of neither
