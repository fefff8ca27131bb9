"""Searches that leave entities out: what is on the short list is scored as the exact search does."""

import numpy as np
import pytest

import pmd
from pmd.core.errors import PmdError
from pmd.trust.answer_sets import AnswerSets
from pmd.trust.calibration import Calibration
from pmd.trust.first_answers import FirstAnswers
from pmd.trust.odds import Odds
from pmd.use import search as module
from pmd.use import text_models
from pmd.use.answer_records import Question
from pmd.use.search import Cells, Funnel, leading_of

from ..asked import write_model
from ..tiny import tiny_graph


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PMD_CACHE", str(tmp_path / "cache"))


def vectors_of(n: int, dim: int = 64) -> np.ndarray:
    """Unit vectors around some centres, whose leading numbers say most."""
    rng = np.random.default_rng(0)
    falling = np.arange(1, dim + 1) ** -0.8
    vectors = rng.normal(size=(20, dim))[rng.integers(20, size=n)] + 0.7 * rng.normal(size=(n, dim))
    vectors = (vectors * falling).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["funnel", "faiss"])
@pytest.mark.parametrize("half", [False, True])
def test_short_lists_hold_the_best(kind, half, tmp_path, monkeypatch):
    if kind == "faiss":
        pytest.importorskip("faiss", reason="needs the extra `faiss`")
    monkeypatch.setattr(module, "BLOCK", 999)
    vectors = vectors_of(5000)
    stored = vectors.astype(np.float16) if half else vectors
    made = Funnel(stored) if kind == "funnel" else Cells(stored, tmp_path / "cells.faiss")
    queries = vectors[:20]
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    rows = made.rows(queries, 200)
    assert all(len(listed) <= 200 and len({*listed.tolist()}) == len(listed) for listed in rows)
    assert np.mean([len({*listed.tolist()} & {*row.tolist()}) for listed, row in zip(rows, best)]) > 9.8
    if kind == "faiss":
        again = Cells(np.broadcast_to(np.float32(0), vectors.shape), tmp_path / "cells.faiss")  # from the file
        assert all(np.array_equal(a, b) for a, b in zip(again.rows(queries, 200), rows))
    assert [sorted(listed.tolist()) for listed in Funnel(stored[:9]).rows(queries, 200)] == [[*range(9)]] * 20


def test_an_index_of_other_vectors_is_built_anew_and_a_damaged_one_refused(tmp_path):
    pytest.importorskip("faiss", reason="needs the extra `faiss`")
    file, vectors = tmp_path / "cells.faiss", vectors_of(300)
    Cells(vectors[:200], file)
    assert Cells(vectors, file).index.ntotal == 300 and [path.name for path in tmp_path.iterdir()] == ["cells.faiss"]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PmdError, match=r"cells.faiss: cannot be read .*; remove it, and it is built anew"):
        Cells(vectors, file)
    with pytest.warns(UserWarning, match="cannot be kept .*, which only takes time"):
        assert Cells(vectors, tmp_path / "none" / "cells.faiss").index.ntotal == 300


def test_a_funnel_begins_with_a_trained_width():
    assert [leading_of(widths) for widths in ((8, 32, 64), (8, 16), (16, 48, 64), (64, 128))] == [32, 8, 48, 64]
    with pytest.raises(PmdError, match=r"^search: a funnel needs vectors .* trained at 64 alone"):
        leading_of((64,))


def calibrated() -> Calibration:
    """What validation might have taught, of which the tiny graph has too little."""
    sets = AnswerSets(np.zeros(40, np.int64), np.linspace(-3, 3, 40))
    return Calibration(Odds(np.full(2, 5.0), np.ones(6), np.full(6, 0.5)), sets, sets, FirstAnswers(0.8, -0.2))


class Whole(text_models.TrainedText):
    """The same short lists as scores of all entities, -inf for the others."""

    def candidates(self, questions, types):
        rows = self._short_list.rows(self.queries(questions), text_models.SHORT_LIST)
        left_out = np.ones((len(questions), self.index.num_entities), dtype=bool)
        for row, listed in zip(left_out, rows):
            row[listed] = False
        scores = self.after_types(np.where(left_out, -np.inf, self.scores(questions)), questions, types)
        return ((np.arange(scores.shape[1]), row) for row in scores)


@pytest.mark.parametrize(
    "options",
    [{}, {"all": True}, {"types": "strict"}, {"new": True}, {"candidates": ["e1", "e9"]}, {"coverage": 0.5}],
)
def test_only_the_short_list_is_looked_at_and_the_answers_are_the_same(options, tmp_path, monkeypatch):
    monkeypatch.setattr(text_models, "SHORT_LIST", 6)
    model = pmd.load(write_model("wide", tmp_path / "model", tiny_graph()), tiny_graph()).searching("funnel")
    whole = Whole(model.folder, model.settings, model.open_index, search="funnel")
    for one in (model, whole):
        one.__dict__["_calibrations"] = {"valid": calibrated()}
    questions = [Question("tail", 1, 3), Question("head", 0, 5), Question("tail", 0, 2)]
    sizes = [len(entities) for entities, _ in model.candidates(questions, "soft")]
    assert max(sizes) < model.index.num_entities
    answers = list(model.answer_all(questions, **options))
    assert_equal(answers, list(whole.answer_all(questions, **options)))
    listed = [answer for each in answers for answer in (*each.known, *each)]
    has = [answer.probability is not None for answer in listed]
    assert has == [answer.score is not None and options.get("types") != "strict" for answer in listed] and listed
    if not options:
        assert [answer.score for each in answers for answer in each.known] == [None]  # known, and not on the list


def assert_equal(answers, others):
    """The same entities and ranks, and scores and probabilities but for the order of sums."""
    for one, other in zip(answers, others, strict=True):
        one, other = one.to_dict(), other.to_dict()
        for listed in ("known", "answers"):
            for key in ("score", "probability"):
                numbers = [
                    [np.nan if row[key] is None else row.pop(key) for row in side[listed]] for side in (one, other)
                ]
                np.testing.assert_allclose(*numbers, rtol=1e-4)
        assert one == other


@pytest.mark.parametrize("search", ["funnel", "faiss"])
def test_answers_are_those_of_the_exact_search(search, tmp_path, monkeypatch):
    if search == "faiss":
        pytest.importorskip("faiss", reason="needs the extra `faiss`")
    monkeypatch.setattr(text_models, "SHORT_LIST", 6)
    model = pmd.load(write_model("wide", tmp_path / "model", tiny_graph()), tiny_graph())
    questions = [Question("tail", 1, 3), Question("head", 0, 5)]
    searched = model.searching(search)
    for exact, (entities, scores) in zip(model.scores(questions), searched.candidates(questions, "off")):
        listed = np.isfinite(scores)
        assert listed.sum() == 6
        np.testing.assert_allclose(scores[listed], exact[entities[listed]], atol=1e-6)
    answers = searched.answer(head="e7", relation="near", all=True, types="off", top_k=3)
    assert all(answer.score is not None for answer in answers) and len(answers) == 3
    triples = [(3, 1, 7), (5, 0, 2)]
    assert list(searched.classify_all(triples)) == list(model.classify_all(triples))
    assert searched.relations(head="e3", tail="e7") == model.relations(head="e3", tail="e7")


@pytest.mark.parametrize("search", ["exact", "funnel", "faiss"])
def test_nan_is_named(search, tmp_path, monkeypatch):
    if search == "faiss":
        pytest.importorskip("faiss", reason="needs the extra `faiss`")
    model = pmd.load(write_model("wide", tmp_path / "model", tiny_graph()), tiny_graph()).searching(search)
    assert len(model.answer(head="e3", relation="part of the whole")) > 0  # the index is there
    monkeypatch.setattr(text_models.TrainedText, "queries", lambda *_: np.full((1, 32), np.nan, dtype=np.float32))
    with pytest.raises(PmdError, match="NaN"):
        model.answer(head="e3", relation="part of the whole", types="off")


def test_searches_that_cannot_be_are_refused(tmp_path):
    wide = pmd.load(write_model("wide", tmp_path / "wide", tiny_graph()), tiny_graph())
    with pytest.raises(PmdError, match=r"^search: faiss has an index of whole vectors; crop the model"):
        wide.crop(8).searching("faiss")
    with pytest.raises(PmdError, match=r"^search: a funnel needs"):
        pmd.load(write_model("text", tmp_path / "text", tiny_graph())).searching("funnel")
    with pytest.raises(PmdError, match=r"^search: funnel is for text models; leave it out"):
        module.searching(pmd.load(write_model("rotate", tmp_path / "rotate", tiny_graph())), "funnel")
    assert module.searching(wide, "exact") is wide
