"""Reasons of models in folders: named facts and paths, and the parts of a fused score."""

import json

import numpy as np
import pytest

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError

from ..asked import own_cache, write_model  # noqa: F401
from ..says import says


@pytest.mark.parametrize("kind", ["text", "rotate"])
def test_reasons_are_training_facts_by_name(kind, random_graph, tmp_path):
    graph = random_graph(0)
    model = pmd.load(write_model(kind, tmp_path / "model", graph), graph)
    train = {tuple(triple) for triple in graph.train.tolist()}
    answers = model.answer(head="e1", relation="r0", top_k=4)
    with pytest.raises(PmdError) as error:
        model.why(head="e01", relation="r00", tail="e1")
    assert says(str(error.value), "head: …'e01'…; relation: …'r00'")
    paths = 0
    for answer, why in zip(answers, model.why_answers(answers)):
        assert why == model.why(head="e1", relation="r0", tail=answer.id) and why.parts is None
        assert len(why.facts) == 3
        for near in why.facts:
            (head, _), (relation, name), (tail, _) = near.fact
            assert relation == "r0" and name == "relation 0" and (int(head[1:]), 0, int(tail[1:])) in train
            for end, other, cosine in (("e1", head, near.head_cosine), (answer.id, tail, near.tail_cosine)):
                vectors = model.unit_vectors(np.array([int(end[1:]), int(other[1:])]))
                assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
                assert cosine == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)
        for path in why.paths:
            assert path.start[0] == "e1" and "e1" in (path.facts[0][0][0], path.facts[0][2][0])
            assert answer.id in (path.facts[-1][0][0], path.facts[-1][2][0])
            assert all((int(h[1:]), int(r[1:]), int(t[1:])) in train for (h, _), (r, _), (t, _) in path.facts)
            paths += 1
        assert str(why).count("\n") + 1 == len(why.facts) + len(why.paths)
        json.dumps(why.to_dict())
    assert paths


def test_for_the_head_the_path_begins_at_the_tail(random_graph, tmp_path):
    graph = random_graph(0)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    answers = model.answer(tail="e1", relation="r0", top_k=5)
    starts = {path.start[0] for why in model.why_answers(answers) for path in why.paths}
    assert starts == {"e1"}


def test_a_path_is_written_with_arrows(tmp_path, random_graph):
    graph = random_graph(0)
    model = pmd.load(write_model("rotate", tmp_path / "model", graph), graph)
    why = next(why for why in model.why_answers(model.answer(head="e1", relation="r0")) if len(why.paths) > 1)
    for path, line in zip(why.paths, str(why).splitlines()[len(why.facts) :]):
        assert line.startswith("path: name 0 ")
        place = path.start
        for head, relation, tail in path.facts:
            arrow = f"—{relation[1]}→ {tail[1]}" if head == place else f"←{relation[1]}— {head[1]}"
            assert arrow in line
            place = tail if head == place else head


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_gives_reasons(as_json, random_graph, tmp_path, capsys):
    graph = random_graph(0)
    folder = write_model("text", tmp_path / "model", graph)
    model = pmd.load(folder, graph)
    asked = {"head": "e1", "relation": "r0"}
    expected = model.why_answers(model.answer(**asked, top_k=2))
    command = ["answer", str(folder), "--head=e1", "--relation=r0", "--why"] + ["--json"] * as_json
    dispatch([*command, "-k", "2"])
    out = capsys.readouterr().out
    if as_json:
        reasons = [answer["why"] for answer in json.loads(out)["answers"]]
        assert reasons == [json.loads(json.dumps(why.to_dict())) for why in expected]
    else:
        assert all(str(why) in out for why in expected) and "\n1. name" in out
    dispatch([*command[:3], "--tail=e4", *command[3:]])
    out = capsys.readouterr().out
    why = model.why(head="e1", relation="r0", tail="e4")
    assert json.loads(out)["why"] == json.loads(json.dumps(why.to_dict())) if as_json else str(why) in out
    dispatch(["answer", str(folder), "--text=a place", "--relation=r0", "--why", "--json"])
    reasons = json.loads(capsys.readouterr().out)["answers"][0]["why"]
    assert reasons["paths"] == [] and reasons["facts"][0]["head_cosine"] is None
