"""Probabilities and sets of trained models: by value, through the index, cropped, and from the shell."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import pmd
from pmd.cli.main import dispatch
from pmd.core.errors import PmdError
from pmd.models.kge.folder import save
from pmd.trust.calibration import Calibration
from pmd.use.index import Index

RELATIONS, ENTITIES = 2, 40


def graph_of_numbers(seed=0, valid=60):
    """(i, r, j) where j is near i, of which a model can learn something."""
    rng = np.random.default_rng(seed)
    heads = rng.integers(0, ENTITIES, 400)
    triples = np.stack([heads, rng.integers(0, RELATIONS, 400), (heads + rng.integers(1, 4, 400)) % ENTITIES], 1)
    triples = torch.from_numpy(np.unique(triples, axis=0))[torch.randperm(len(np.unique(triples, axis=0)))]
    ids = [f"e{i}" for i in range(ENTITIES)]
    parts = triples[: -60 - valid], triples[-60 - valid : -60], triples[-60:]
    return pmd.KnowledgeGraph("numbers", ids, ids, [""] * ENTITIES, ["near", "by"], ["near", "by"], *parts)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)


def model_folder(tmp_path, graph):
    model = pmd.KgeModel("rotate", num_entities=ENTITIES, num_relations=RELATIONS, dim=8, widths=(4, 8))
    save(tmp_path / "model", model, graph)
    return tmp_path / "model"


@pytest.fixture
def asked(tmp_path):
    graph = graph_of_numbers()
    return pmd.load(model_folder(tmp_path, graph), graph), graph


@pytest.mark.parametrize("target", ["head", "tail"])
def test_a_probability_by_its_definition(asked, target):
    model, _ = asked
    known_end = "head" if target == "tail" else "tail"
    answers = model.answer(**{known_end: "e3"}, relation="by", top_k=ENTITIES, all=True)
    group = 1 + RELATIONS * (target == "tail")
    calibration = Calibration.stored(model.index.column, model.index.metadata["odds"], "valid")
    odds, first_answers = calibration.odds, calibration.first_answers
    inverse_temperature = odds.inverse_temperatures[int(target == "tail")]
    known = {answer.id for answer in answers if answer.known}
    assert known
    for answer in answers:
        rivals = [other.score for other in answers if other.id not in known | {answer.id}]
        log_odds = inverse_temperature * answer.score - np.log(np.exp(inverse_temperature * np.array(rivals)).sum())
        logit = odds.scales[group] * log_odds + odds.biases[group]
        if answer.score > max(rivals):
            logit = first_answers.scale * logit + first_answers.bias
        expected = 1 / (1 + np.exp(-logit))
        assert answer.probability == pytest.approx(expected, rel=1e-5)
    new = model.answer(**{known_end: "e3"}, relation="by", top_k=ENTITIES, new=True)
    everything = {answer.id: answer.probability for answer in answers}
    assert all(answer.probability == everything[answer.id] for answer in new)


def test_what_was_learned_is_in_the_index(asked):
    model, _ = asked
    first = model.answer(head="e1", relation="near")
    again = pmd.load(model.index.model)
    assert again.answer(head="e1", relation="near") == first and first[0].probability is not None
    facts = model.index.metadata["odds"]
    assert (facts["splits"], facts["missing"], list(facts["first_answers"])) == ({"valid": 120}, {}, ["valid"])
    assert [answer["probability"] for answer in first.to_dict()["answers"]] == [a.probability for a in first]
    assert f"{first[0].probability:6.1%}" in repr(first)


@pytest.mark.parametrize("new", [True, False])
def test_a_set_is_what_reaches_the_threshold(asked, new):
    model, _ = asked
    calibration, options = (
        Calibration.stored(model.index.column, {}, "valid"),
        {"head": "e3", "relation": "by", "new": new, "all": not new},
    )
    answers = model.answer(**options, coverage=0.5, max_set=ENTITIES)
    every = model.answer(**options, top_k=ENTITIES)
    scores = np.full(ENTITIES, -np.inf)
    scores[[int(answer.id[1:]) for answer in every]] = [answer.score for answer in every]
    logits = calibration.odds.logits(scores, np.isfinite(scores), 3)
    threshold = (calibration.new_sets if new else calibration.all_sets).threshold(3, 0.5)
    assert {answer.id for answer in answers} == {f"e{i}" for i in np.flatnonzero(logits >= threshold)}
    assert answers.answer_set.size == len(answers) > 0 and answers.answer_set.unsure == ""
    assert answers.answers == every.answers[: len(answers)]


def test_none_is_sure_where_the_set_would_be_too_large(asked):
    model, _ = asked
    options = {"head": "e3", "relation": "by", "coverage": 0.9}
    size = model.answer(**options).answer_set.size
    few = model.answer(**options, max_set=size - 1)
    assert len(few) == 0 and few.answer_set.size == size
    assert few.answer_set.unsure == (
        f"none is sure: {size} answers would be needed for a coverage of 90%, more than {size - 1}"
    )
    assert few.to_dict()["answer_set"]["unsure"] in repr(few)
    assert len(model.answer(**options, max_set=size)) == size


def test_none_is_sure_where_nothing_reaches(asked, monkeypatch):
    model, _ = asked
    monkeypatch.setattr("pmd.trust.answer_sets.AnswerSets.threshold", lambda *_: 1e9)
    answers = model.answer(head="e3", relation="by", coverage=0.9)
    assert answers.answer_set.size == len(answers) == 0 and "likely enough" in answers.answer_set.unsure


def test_too_few_questions_for_a_coverage(asked):
    model, _ = asked
    answers = model.answer(head="e3", relation="by", coverage=0.999, max_set=ENTITIES, all=True)
    assert answers.answer_set.size == ENTITIES  # all that there are


def test_a_coverage_that_cannot_be_given_is_refused(asked, tmp_path):
    model, graph = asked
    for coverage in (0, 1, 1.5, -0.2):
        with pytest.raises(PmdError, match="coverage"):
            model.answer(head="e3", relation="by", coverage=coverage)
    with pytest.raises(PmdError, match="max_set: 0"):
        model.answer(head="e3", relation="by", coverage=0.9, max_set=0)
    with pytest.raises(PmdError, match=r"coverage: .*soft types; leave types out"):
        model.answer(head="e3", relation="by", coverage=0.9, types="off")
    with pytest.raises(PmdError, match=r"coverage: .*leave candidates out"):
        model.answer(head="e3", relation="by", coverage=0.9, candidates=["e4"])
    assert model.answer(head="e3", relation="by", types="off")[0].probability is None
    with pytest.raises(PmdError, match="pmd crop"):
        model.crop(4).answer(head="e3", relation="by", coverage=0.9)
    assert model.crop(4).answer(head="e3", relation="by")[0].probability is None
    small = replace(graph, valid=graph.valid[:3])
    other = pmd.load(model_folder(tmp_path / "small", small), small)
    assert other.answer(head="e3", relation="by")[0].probability is None
    with pytest.raises(PmdError, match="valid has 6 questions, and 20 are needed"):
        other.answer(head="e3", relation="by", coverage=0.9)


def test_a_cropped_model_learns_its_own(asked, tmp_path):
    model, graph = asked
    model.answer(head="e3", relation="by")
    dispatch(["crop", str(model.index.model), "--width", "4", "--out", str(tmp_path / "narrow")])
    narrow, whole = Index(tmp_path / "narrow" / "index"), model.index
    facts, of_whole = dict(narrow.metadata["odds"]), dict(whole.metadata["odds"])
    assert facts.pop("first_answers") != of_whole.pop("first_answers") and facts == of_whole
    temperatures = [index.column("odds_valid_odds_inverse_temperatures") for index in (narrow, whole)]
    assert not np.allclose(*temperatures)
    shutil.rmtree(tmp_path / "narrow" / "index")
    built = pmd.load(tmp_path / "narrow", graph).index
    assert temperatures[0] == pytest.approx(built.column("odds_valid_odds_inverse_temperatures"), rel=1e-6)


def test_from_the_shell(asked, capsys):
    model, _ = asked
    model.answer(head="e3", relation="by")
    ask = ["answer", str(model.index.model), "--head", "e3", "--relation", "by", "--coverage", "0.5", "--new"]
    dispatch(ask)
    table = capsys.readouterr().out
    assert "|   probability |" in table
    dispatch([*ask, "true", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["answer_set"] == {"coverage": 0.5, "size": len(found["answers"]), "unsure": ""}
    dispatch([*ask, "--max_set", "1", "--coverage", "0.9"])
    assert "none is sure" in capsys.readouterr().out


def test_the_trust_of_a_model_is_measured_from_the_shell(asked, capsys):
    model, _ = asked
    model.answer(head="e3", relation="by")
    folder = str(model.index.model)
    measured = model.measure_trust("test")
    assert measured["questions"] == 120
    capsys.readouterr()
    dispatch(["evaluate", folder, "--trust", "true", "--evaluation.split", "test"])
    table = capsys.readouterr().out
    assert f"{measured['calibration']['after']['first']['ece']:.3f}" in table
    assert all(f"{row['coverage']:.1%}" in table for row in measured["coverage"])
