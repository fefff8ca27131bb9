"""Log-odds by the definition, candidate by candidate, and held-out questions by a plain loop."""

import math

import numpy as np
import pytest

from pmd.core.errors import PmdError
from pmd.trust.held_out import LIMIT, HeldOut, held_out, held_out_triples, kept_ranks, log_odds

from .graphs import SmallIndex, SmallModel


def plain_log_odds(scores, rivals, inverse_temperature):
    odds = []
    for i, score in enumerate(scores):
        others = sum(math.exp(inverse_temperature * scores[j]) for j in rivals if j != i)
        odds.append(inverse_temperature * score - math.log(others) if score > -math.inf else -math.inf)
    return odds


def test_log_odds_are_those_of_a_softmax_over_an_entity_and_its_rivals():
    scores = np.array([2.0, 1.0, 0.0, -math.inf, 3.0])
    rivals = [0, 1, 2, 3]
    odds = log_odds(scores, np.isin(np.arange(5), rivals), 0.7)
    assert odds == pytest.approx(plain_log_odds(scores, rivals, 0.7))
    shares = np.exp(0.7 * scores[:4]) / np.exp(0.7 * scores[:4]).sum()
    assert odds[:3] == pytest.approx(np.log(shares[:3] / (1 - shares[:3])))


def test_log_odds_of_a_certain_answer_do_not_cancel():
    odds = log_odds(np.array([50.0, 0.0, 1.0]), np.ones(3, dtype=bool), 1.0)
    assert odds[0] == pytest.approx(50 - math.log(1 + math.e), abs=1e-9)
    assert log_odds(np.array([900.0, 0.0]), np.ones(2, dtype=bool), 1.0).tolist() == [LIMIT, -LIMIT]
    assert log_odds(np.array([1.0, -math.inf]), np.ones(2, dtype=bool), 1.0).tolist() == [LIMIT, -math.inf]
    assert log_odds(np.full(2, -math.inf), np.ones(2, dtype=bool), 1.0).tolist() == [-math.inf] * 2


def test_log_odds_of_rivals_do_not_vanish_below_a_known_answer():
    odds = log_odds(np.array([900.0, 2.0, 1.0]), np.array([False, True, True]), 1.0)
    assert odds == pytest.approx([LIMIT, 1.0, -1.0])
    nobody = log_odds(np.array([-math.inf, 2.0, 1.0]), np.zeros(3, dtype=bool), 1.0)
    assert nobody.tolist() == [-math.inf, LIMIT, LIMIT]


def test_held_out_log_odds_are_those_of_all_scores():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 40))
    rivals = -np.sort(-scores[:, 1:])
    questions = HeldOut(np.zeros(6, np.int64), scores[:, 0], rivals, np.ones(39))
    true, of_rivals = questions.log_odds(np.full(6, 1.5))
    for row in range(6):
        together = np.concatenate([scores[row, :1], rivals[row]])
        expected = log_odds(together, np.ones(40, dtype=bool), 1.5)
        assert true[row] == pytest.approx(expected[0]) and of_rivals[row] == pytest.approx(expected[1:])


def test_of_many_rivals_a_hundred_stand_for_all():
    scores = -np.sort(-np.random.default_rng(0).normal(size=40_000))
    ranks, counts = kept_ranks(40_000)
    assert ranks[:64].tolist() == [*range(64)] and ranks[-1] == 39_999 and counts.sum() == 40_000 and len(ranks) < 150
    for inverse_temperature in (0.1, 1.0, 5.0):
        exact = np.exp(inverse_temperature * scores).sum()
        assert (counts * np.exp(inverse_temperature * scores[ranks])).sum() == pytest.approx(exact, rel=0.01)
    assert kept_ranks(1)[0].tolist() == [0] and kept_ranks(1)[1].tolist() == [1]


def test_held_out_questions_of_a_graph_by_a_plain_loop():
    index = SmallIndex()
    model = SmallModel(index)
    filtered, unfiltered = held_out(model, ["valid"])
    expected = []
    for target in ("head", "tail"):
        for h, r, t in index.splits["valid"]:
            if (h, r, t) in index.splits["train"]:
                continue
            scores = model.table[target][(t if target == "head" else h), r]
            answer = h if target == "head" else t
            known = {x[0] if target == "head" else x[2] for s in index.splits.values() for x in s
                     if x[1] == r and x[2 if target == "head" else 0] == (t if target == "head" else h)}  # fmt: skip
            rivals = sorted((scores[e] for e in range(index.num_entities) if e not in known), reverse=True)
            every = sorted((scores[e] for e in range(index.num_entities) if e != answer), reverse=True)
            expected.append((r + index.num_relations * (target == "tail"), scores[answer], rivals, every))
    assert len(filtered) == len(expected) == 2 * len(held_out_triples(index, ["valid"]))
    for row, (group, true, rivals, every) in enumerate(expected):
        assert filtered.groups[row] == group and filtered.true[row] == true == unfiltered.true[row]
        assert (
            filtered.rivals[row][: len(rivals)].tolist() == rivals
            and not np.isfinite(filtered.rivals[row][len(rivals) :]).any()
        )
        assert unfiltered.rivals[row][: len(every)].tolist() == every


def test_no_more_triples_than_asked_for_and_no_nan():
    model = SmallModel(SmallIndex())
    assert len(held_out(model, ["valid"], 3)[0]) == 6
    model.table["tail"][:] = np.nan
    with pytest.raises(PmdError, match="NaN"):
        held_out(model, ["valid"])
