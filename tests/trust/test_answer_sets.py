"""Conformal sets: thresholds by hand, and their coverage on exchangeable data within binomial error."""

import numpy as np
import pytest

from pmd.trust.answer_sets import ENOUGH, AnswerSets, needed_questions
from pmd.trust.calibration import Calibration, learn_calibration

from .graphs import SmallIndex, SmallModel
from .test_odds import drawn


def test_the_threshold_is_an_order_statistic():
    sets = AnswerSets(np.zeros(19, np.int64), np.arange(19.0))
    assert sets.threshold(0, 0.9, 1) == pytest.approx(1.0)  # the second of 19: (19 + 1) · 0.1
    assert sets.threshold(0, 0.95, 1) == pytest.approx(0.0)
    assert sets.threshold(0, 0.875, 1) == pytest.approx(1.5)  # between the second and the third
    assert sets.threshold(0, 0.96, 1) == -np.inf  # 24 questions would be needed
    assert [needed_questions(coverage) for coverage in (0.8, 0.9, 0.95, 0.99)] == [4, 9, 19, 99]


def test_relations_with_few_questions_are_one_category():
    groups = np.repeat([0, 1, 2, 4], [30, 6, 8, 3])  # heads of three relations, tails of the second
    logits = np.concatenate([np.full(30, 5.0), np.arange(14.0), np.full(3, -1.0)])
    sets = AnswerSets(groups, logits)
    assert sets.threshold(0, 0.9, 3) == 5
    assert sets.threshold(1, 0.8, 3) == sets.threshold(2, 0.8, 3) == pytest.approx(2.0)  # the third of 14
    assert sets.threshold(1, 0.95, 3) == pytest.approx(
        np.quantile(logits[:44], 0.05, method="weibull")
    )  # the direction
    assert sets.threshold(4, 0.9, 3) == pytest.approx(np.quantile(logits, 0.1, method="weibull"))  # all
    assert AnswerSets(groups[30:36], logits[30:36]).threshold(1, 0.9, 3) == -np.inf and ENOUGH > 6


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_exchangeable_questions_as_often_as_asked_for(coverage):
    hits = []
    for seed in range(60):
        questions = drawn(240, 1.0, groups=6, seed=seed)  # two directions of three relations
        learned, asked = questions[:160], questions[160:]
        calibration = Calibration.of(learned, learned, num_relations=3)
        true, _ = calibration.odds.held_out_logits(asked)
        thresholds = [calibration.new_sets.threshold(int(group), coverage, 3) for group in asked.groups]
        hits.append((true >= thresholds).mean())
    error = np.std(hits, ddof=1) / np.sqrt(len(hits))
    assert abs(np.mean(hits) - coverage) < 3 * error + 0.005 and error < 0.01


def test_what_a_model_has_learned_is_stored_as_columns():
    facts, columns = learn_calibration(SmallModel(SmallIndex()))
    assert facts == {"splits": {"valid": 60}, "missing": {}}
    stored = Calibration.stored(columns.__getitem__, "valid")
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
    assert facts["missing"]["valid"] == "the split valid has 12 questions, and 20 are needed"
