"""First answers: what is learned of them, in which order they stay, and one question like many."""

import numpy as np
import pytest

from pmd.trust.answer_sets import AnswerSets
from pmd.trust.calibration import Calibration
from pmd.trust.first_answers import PRIOR, FirstAnswers, first_and_second, learn_first_answers
from pmd.trust.held_out import HeldOut
from pmd.trust.odds import Odds, learn, probability
from pmd.trust.reliability import calibrated

from .test_odds import drawn


def easy_or_hard(number, seed):
    """Questions whose first answer stands far above the others or by chance, and is right in four cases of five."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(size=(number, 30)))
    scores[:, 0] += rng.choice([0.5, 4.0], number)
    answers = np.where(rng.random(number) < 0.8, 0, rng.integers(1, 30, number))
    rows = np.arange(number)
    true = scores[rows, answers]
    scores[rows, answers] = -np.inf
    return HeldOut(np.zeros(number, np.int64), true, -np.sort(-scores)[:, :-1], np.ones(29))


def test_first_answers_are_right_as_often_as_said_where_the_odds_of_all_candidates_are_not():
    learned, asked = easy_or_hard(1500, 0), easy_or_hard(1500, 1)
    odds, first_answers = learn(learned, 1), learn_first_answers(learned, 1)
    before, after = (calibrated(odds, form, asked)["first"]["ece"] for form in (FirstAnswers(), first_answers))
    assert before > 0.1 and after < before / 2


def test_without_a_fault_nothing_is_mended():
    found = learn_first_answers(drawn(4000, 2.0), 1)
    assert (found.scale, found.bias) == pytest.approx((1, 0), abs=0.12) and PRIOR > 0
    questions = drawn(10, 1.0)
    true, rivals = Odds(np.ones(2), np.ones(2), np.zeros(2)).held_out_logits(questions)
    same = FirstAnswers().held_out_logits(true, rivals)
    assert (same[0] == true).all() and (same[1] == rivals).all()


@pytest.mark.parametrize("form", [FirstAnswers(0.8, 0.5), FirstAnswers(0.5, -4.0)])
def test_the_order_stays_and_one_question_is_like_many(form):
    questions = drawn(40, 1.0)
    odds = Odds(np.full(2, 0.7), np.array([1.2, 1.0]), np.array([0.3, 0.0]))
    true, rivals = odds.held_out_logits(questions)
    first, second = first_and_second(true, rivals)
    mended_true, mended_rivals = form.held_out_logits(true, rivals)
    expected = np.maximum(form.scale * first + form.bias, second)
    assert first_and_second(mended_true, mended_rivals)[0] == pytest.approx(expected)
    for row in range(40):
        scores = np.concatenate([questions.true[row : row + 1], questions.rivals[row]])
        logits = form.logits(odds.logits(scores, np.ones(30, bool), 0), scores, np.ones(30, bool))
        assert logits == pytest.approx(np.concatenate([mended_true[row : row + 1], mended_rivals[row]]))


def test_a_known_answer_is_first_if_it_stands_above_all_that_are_not():
    scores, logits = np.array([3.0, 2.0, 1.0, 0.5]), np.array([1.0, 0.0, -1.0, -2.0])
    form = FirstAnswers(1.0, 0.25)
    assert form.logits(logits, scores, np.array([False, True, True, False])).tolist() == [1.25, 0.25, -1, -2]
    assert form.logits(logits, scores, np.array([True, False, True, True])).tolist() == [1.25, 0, -1, -2]
    ties = form.logits(np.zeros(4), np.ones(4), np.ones(4, bool))
    assert probability(ties).tolist() == [0.5] * 4


@pytest.mark.filterwarnings("error")
def test_probabilities_of_some_entities_are_those_of_all():
    rng = np.random.default_rng(0)
    odds, sets = Odds(np.full(2, 0.7), np.full(2, 1.2), np.full(2, 0.3)), AnswerSets(np.zeros(0), np.zeros(0))
    calibration = Calibration(odds, sets, sets, FirstAnswers(0.5, -1.0))
    for _ in range(200):
        number = int(rng.integers(1, 8))
        scores = rng.choice([-np.inf, 0.0, 1.0, 2.0, 3.0], number)  # with ties, none, and all known
        known = np.flatnonzero(rng.random(number) < rng.choice([0, 0.5, 1]))
        some = rng.integers(0, number, int(rng.integers(1, 4)))
        every = calibration.probabilities(scores, known, 0)
        assert (every[np.isinf(scores)] == 0).all() and np.isfinite(every).all()
        assert calibration.probabilities(scores, known, 0, entities=some) == pytest.approx(every[some], abs=1e-12)
