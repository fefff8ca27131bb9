"""Verdicts and relations of models in folders: what is looked up, learned once, kept, and learned anew."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.trust.sides import measured
from pmd.use import judging
from pmd.use.answer_records import Question

from ..asked import own_cache, write_model  # noqa: F401
from ..trust.tabled import tabled


@pytest.fixture(params=["text", "rotate"])
def folder(request, tmp_path, random_graph):
    return write_model(request.param, tmp_path / "model", random_graph(0, valid=30))


@pytest.fixture
def learned(monkeypatch):
    """How often something was learned."""
    calls, learn = [], judging.learn
    monkeypatch.setattr(judging, "learn", lambda model: calls.append(model) or learn(model))
    return calls


class AfterTypes:
    """A scorer whose scores are those after types."""

    def __init__(self, scorer, types):
        self.scorer, self.types = scorer, types

    def score_all(self, triples, target):
        questions = triples[:, 1] + 3 * (target == "head")
        with torch.no_grad():
            scores = self.scorer.score_all(triples, target).numpy()
        return torch.from_numpy(self.types.adjusted(scores, questions.numpy()))


def test_a_verdict_says_what_it_rests_on(folder, random_graph):
    graph = random_graph(0, valid=30)
    model = pmd.load(folder, graph)
    scorer = AfterTypes(pmd.load_scorer(folder, graph), model.types)
    ranks = pmd.ranks(scorer, graph, "valid")
    judge, files = model.judge, {path.name for path in folder.iterdir()}
    for row, verdict in enumerate(model.classify_all(graph.valid.tolist())):
        head, relation, tail = graph.valid[row].tolist()
        scores = [scorer.score_all(graph.valid[row : row + 1], target)[0] for target in ("head", "tail")]
        assert verdict.score == pytest.approx((float(scores[0][head]) + float(scores[1][tail])) / 2, abs=1e-5)
        assert verdict.head[0] == f"e{head}" and verdict.relation == (f"r{relation}", f"relation {relation}")
        assert verdict.tail == (f"e{tail}", graph.entity_names[tail]) and "valid" in verdict.known
        if "tokenizer.json" not in files:  # entities share texts, and the last bits of cosines may differ
            expected = ranks.head.realistic[row], ranks.tail.realistic[row]
            assert (verdict.head_rank, verdict.tail_rank) == expected
        likely = []
        for target, entity, answer, side in (("head", tail, head, scores[0]), ("tail", head, tail, scores[1])):
            known = model.index.known_answers(target, entity, relation)[0]
            likely.append(model.probabilities(Question(target, relation, entity), side.detach().numpy(), known)[answer])
        assert verdict.probability == pytest.approx(np.mean(likely), abs=1e-4)
        assert verdict.threshold == judge.thresholds.get(relation, judge.threshold)
        assert verdict.holds == (verdict.value >= verdict.threshold)
    one = model.classify(head="e3", relation="relation 1", tail="e5")
    assert one == next(model.classify_all([(3, 1, 5)]))
    as_json = json.loads(json.dumps(one.to_dict()))
    assert as_json["head"] == {"id": "e3", "name": "name 1"} and as_json["holds"] == one.holds
    with pytest.raises(PmdError, match="tail: no entity 'e99'"):
        model.classify(head="e3", relation="r1", tail="e99")


def test_relations_of_both_directions_are_ranked(folder, random_graph):
    graph = random_graph(0, valid=30)
    model = pmd.load(folder, graph)
    relations = model.relations(head="e1", tail="e4", top_k=99)
    asked = [(1, r, 4) for r in range(3)] + [(4, r, 1) for r in range(3)]
    values = measured(model.judge.sides(model, np.array(asked)), model.judge.relations)
    expected = [asked[row] for row in np.argsort(-values, kind="stable")]
    heads = [(relations.ends(answer)[0][0], answer.id, relations.ends(answer)[1][0]) for answer in relations]
    assert heads == [(f"e{h}", f"r{r}", f"e{t}") for h, r, t in expected]
    assert [answer.rank for answer in relations] == [*range(1, 7)] and len(relations) == 6
    splits = {name: graph.split(name).tolist() for name in graph.split_names}
    for answer, triple in zip(relations, expected):
        assert list(answer.known) == [name for name, triples in splits.items() if [*triple] in triples]
        assert answer.value == pytest.approx(values[asked.index(triple)])
    new = model.relations(head="e1", tail="e4", top_k=99, new=True)
    assert [answer.id for answer in new] == [answer.id for answer in relations if not answer.known]
    assert [answer.id for answer in model.relations(head="e1", tail="e4", top_k=2)] == [a.id for a in relations[:2]]
    assert repr(relations).splitlines()[0] == "Relations(name 0, name 2)"
    assert json.loads(json.dumps(relations.to_dict()))["relations"][0]["inverse"] in (True, False)
    assert len(model.relations(head="e1", tail="e1")) == 3  # both directions are one
    with pytest.raises(PmdError, match="top_k"):
        model.relations(head="e1", tail="e4", top_k=0)


def test_it_is_learned_with_the_index_and_kept_there(folder, random_graph, learned):
    first = pmd.load(folder, random_graph(0, valid=30)).judge
    assert pmd.load(folder).judge == first and learned == []
    assert json.loads((folder / "index" / "index.json").read_text())["judge"] == first.stored


@pytest.mark.parametrize("lacks", ["judge", "slope"])
def test_an_earlier_index_learns_it_once_at_the_first_question(lacks, folder, random_graph, learned):
    first = pmd.load(folder, random_graph(0, valid=30)).judge
    file = folder / "index" / "index.json"
    stored = json.loads(file.read_text())
    del (stored if lacks == "judge" else stored["judge"])[lacks]
    file.write_text(json.dumps(stored))
    assert pmd.load(folder).judge.learned_from == first.learned_from and len(learned) == 1
    assert pmd.load(folder).judge == first and len(learned) == 1
    assert json.loads(file.read_text())["judge"] == first.stored


def test_a_cropped_model_learns_for_itself(random_graph, tmp_path, learned):
    graph = random_graph(0, valid=30)
    folder = write_model("rotate", tmp_path / "model", graph)
    whole = pmd.load(folder, graph)
    kept, cropped = whole.judge, whole.crop(4)
    assert cropped.judge != kept and len(learned) == 1
    assert json.loads((folder / "index" / "index.json").read_text())["judge"] == kept.stored
    dispatch(["crop", str(folder), "--width=4", f"--out={tmp_path}/small"])
    small = pmd.load(tmp_path / "small")
    assert small.index.metadata["judge"] == small.judge.stored and small.judge != kept and len(learned) == 1


def test_a_verdict_and_its_confidence_agree(folder, random_graph):
    graph = random_graph(0, valid=30)
    model = pmd.load(folder, graph)
    verdicts = [*model.classify_all(np.concatenate([graph.valid.numpy(), graph.test.numpy()]))]
    assert {verdict.holds for verdict in verdicts} == {True, False}
    for verdict in verdicts:
        assert verdict.holds == (verdict.confidence >= 0.5)
        expected = 1 / (1 + np.exp(-model.judge.slope * (verdict.value - verdict.threshold)))
        assert verdict.confidence == pytest.approx(expected, rel=1e-6)


def test_without_validation_there_is_no_verdict_and_relations_are_compared_by_rank(random_graph, tmp_path):
    graph = random_graph(0)
    model = tabled(replace(graph, valid=graph.valid[:0]), tmp_path / "model")
    verdict = model.classify(head="e1", relation="r0", tail="e2")
    assert verdict.holds is verdict.value is verdict.threshold is verdict.confidence is None and verdict.head_rank >= 1
    relations = model.relations(head="e1", tail="e2")
    assert relations[0].value == max(answer.value for answer in relations) <= 0
