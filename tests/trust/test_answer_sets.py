"""Conformal sets: thresholds by hand, and their coverage on exchangeable data within binomial error."""

import numpy as np
import pytest

from pmd.trust.answer_sets import COMMON, AnswerSets, needed_questions
from pmd.trust.calibration import Calibration, learn_calibration
from pmd.trust.first_answers import FirstAnswers

from .graphs import SmallIndex, SmallModel
from .test_odds import drawn


def test_the_threshold_is_an_order_statistic():
    sets = AnswerSets(np.zeros(19, np.int64), np.arange(19.0))
    assert sets.threshold(0, 0.9) == pytest.approx(1.0)  # the second of 19: (19 + 1) · 0.1
    assert sets.threshold(0, 0.95) == pytest.approx(0.0)
    assert sets.threshold(0, 0.875) == pytest.approx(1.5)  # between the second and the third
    assert sets.threshold(0, 0.96) == -np.inf  # 24 questions would be needed
    assert [needed_questions(coverage) for coverage in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]


def test_a_relation_has_a_threshold_of_its_own_as_far_as_its_questions_reach():
    groups = np.repeat([0, 1, 2], [400, 30, 370])
    logits = np.concatenate([np.arange(400.0), np.arange(30.0) - 100, np.arange(370.0)])
    sets = AnswerSets(groups, logits)
    own, every = (np.quantile(values, 0.1, method="weibull") for values in (logits[400:430], logits))
    assert sets.threshold(5, 0.9) == pytest.approx(every)  # without questions: that of all
    assert own < sets.threshold(1, 0.9) < every
    assert sets.threshold(0, 0.9) == pytest.approx(np.quantile(logits[:400], 0.1, method="weibull"), abs=2)


def test_the_threshold_by_a_plain_loop():
    rng = np.random.default_rng(0)
    groups, logits = rng.integers(0, 4, 60), rng.normal(size=60)
    weights = {i: (groups[i] == 2) + COMMON * 5 / 60 for i in range(60)}
    share = 0.2 * (1 + sum(weight**2 for weight in weights.values()) / sum(weights.values()) ** 2)
    below, reached = None, 0.0
    for i in sorted(weights, key=lambda i: logits[i]):
        before, reached = reached, reached + weights[i] / sum(weights.values())
        if reached >= share:
            break
        below = logits[i]
    expected = below + (logits[i] - below) * (share - before) / (reached - before)
    assert AnswerSets(groups, logits).threshold(2, 0.8) == pytest.approx(expected)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_exchangeable_questions_as_often_as_asked_for(coverage):
    hits = []
    for seed in range(60):
        questions = drawn(240, 1.0, groups=6, seed=seed)  # two directions of three relations
        learned, asked = questions[:160], questions[160:]
        calibration = Calibration.of(learned, learned, num_relations=3)
        true, _ = calibration.odds.held_out_logits(asked)
        thresholds = [calibration.new_sets.threshold(int(group), coverage) for group in asked.groups]
        hits.append((true >= thresholds).mean())
    error = np.std(hits, ddof=1) / np.sqrt(len(hits))
    assert abs(np.mean(hits) - coverage) < 3 * error + 0.005 and error < 0.01


def test_what_a_model_has_learned_is_stored_as_columns():
    facts, columns = learn_calibration(SmallModel(SmallIndex()))
    first_answers = facts.pop("first_answers")
    assert facts == {"splits": {"valid": 60}, "missing": {}}
    older = Calibration.stored(columns.__getitem__, facts, "valid")
    stored = Calibration.stored(columns.__getitem__, {"first_answers": first_answers}, "valid")
    assert older.first_answers == FirstAnswers() != stored.first_answers
    scores, known = np.random.default_rng(0).normal(size=30), np.array([3, 4])
    probabilities = stored.probabilities(scores, known, 1)
    assert probabilities.shape == (30,) and 0.3 < probabilities.sum() < 3
    left = np.where(np.isin(np.arange(30), known), -np.inf, scores)
    sizes = [stored.members(left, 1, coverage, new=True).sum() for coverage in (0.5, 0.8, 0.9)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] <= 28
    members = stored.members(left, 1, 0.8, new=True)
    assert scores[members].min() > left[~members].max()


def test_of_a_small_validation_split_nothing_is_learned():
    index = SmallIndex()
    index.splits["valid"] = index.splits["valid"][-6:]
    facts, columns = learn_calibration(SmallModel(index))
    assert not columns and not facts["splits"] and "10 questions" not in facts["missing"]["valid"]
    assert facts["missing"]["valid"].startswith("the split valid has 12 questions, and 20 are needed (")
