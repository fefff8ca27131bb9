import re

import numpy as np
import pytest

import pmd
from pmd.core.errors import PmdError
from pmd.use.answer_records import Answer, Answers
from pmd.use.answers import TrainedModel, best_entities
from pmd.use.questions import parse_question, read_questions


@pytest.mark.parametrize("seed", range(20))
def test_the_best_are_those_of_a_sort(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, 40).astype(np.float32)  # many are equal
    scores[random.integers(0, 40, 8)] = -np.inf
    order = sorted((-score, place) for place, score in enumerate(scores.tolist()) if score > -np.inf)
    for count in (1, 5, 31, 40, 99):
        assert best_entities(scores, count).tolist() == [place for _, place in order][:count]


def test_a_model_without_a_folder_cannot_be_asked():
    class Loose(TrainedModel):
        open_index = None

    with pytest.raises(PmdError, match=r"no index"):
        Loose().answer(head="a", relation="r")


@pytest.mark.parametrize(
    ("method", "options", "nearest"),
    [
        ("answer", {"head": "a", "topk": 3}, "top_k"),
        ("question", {"haed": "a"}, "head"),
        ("answer_all", {"questions": [], "coverge": 0.9}, "coverage"),
        ("suggest", {"perrelation": 3}, "per_relation"),
        ("relations", {"head": "a", "tale": "b"}, "tail"),
        ("classify", {"relaton": "r"}, "relation"),
        ("why", {"counts": 3}, "count"),
    ],
)
def test_an_option_that_there_is_not_is_answered_by_the_nearest(method, options, nearest):
    with pytest.raises(PmdError, match=rf"^{method}: unknown option '\w+'; there are .*; did you mean '{nearest}'\?$"):
        getattr(TrainedModel(), method)(**options)


def test_functions_of_the_package_propose_options_too(random_graph):
    for call in (
        lambda: pmd.rank(None, random_graph(), maxtriples=3),
        lambda: pmd.rank_widths(None, random_graph(), maxtriples=3),
        lambda: pmd.load("somewhere", stge="grade1"),
    ):
        with pytest.raises(
            PmdError, match=r"unknown option '(maxtriples|stge)'.*did you mean '(max_triples|stage)'\?$"
        ):
            call()


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Ada\tnear\t?", {"head": "Ada", "relation": "near"}),
        ("?\tpart of\tAda Lovelace", {"relation": "part of", "tail": "Ada Lovelace"}),
        ('{"tail": "?", "relation": "r"}', {"tail": "?", "relation": "r"}),
        (' {"text": "a\\tb", "relation": "r", "target": "head"}', {"text": "a\tb", "relation": "r", "target": "head"}),
    ],
)
def test_a_line_is_a_question(line, parts):
    assert parse_question(line) == parts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ada near ?", "1 column.*3"),
        ("a\tb\tc\t?", "4 columns.*3"),
        ("a\tb\tc", "head and tail"),
        ("?\tb\t?", "head and tail"),
        ("{", "JSON object"),
        ('{"haed": "a"}', "'haed'.*'head'"),
        ('{"head": 7, "relation": "r"}', "head: 7.*text"),
    ],
)
def test_a_line_that_is_none_is_named(line, message):
    class Echo(TrainedModel):
        def question(self, **parts):
            return parts

    good = [{"head": "a", "relation": "r"}]
    questions, bad = read_questions(Echo(), ["a\tr\t?", "", line], "asked.tsv")
    assert questions == good and re.match(rf"asked\.tsv, line 3:.*{message}", bad)
    assert read_questions(Echo(), ["a\tr\t?\r", "", " "], "asked.tsv") == (good, "")
    with pytest.raises(PmdError, match=r"^asked\.tsv:.*questions"):
        read_questions(Echo(), ["", " "], "asked.tsv")


def test_answers_are_shown_a_line_each():
    answers = (Answer(1, "Q64", "Berlin", 4.25, ("train", "test")), Answer(12, "Rome", "Rome", -0.5, ()))
    shown = repr(Answers("tail", ("Q1", "Ada"), ("r", "born in"), None, None, answers))
    assert shown.splitlines() == [
        "Answers(Ada, born in, ?)",
        "   1      4.25  Berlin (Q64)  known: train, test",
        "  12      -0.5  Rome",
    ]
    assert repr(Answers("head", None, ("r", "in"), ("Q2", "Rome"), None, ())) == "Answers(?, in, Rome)"
    assert repr(Answers("tail", None, ("r", "in"), None, "a poet", ())) == "Answers(a poet, in, ?)"
