"""Calibration error and coverage: by hand, of data that is calibrated by construction, and by plain loops."""

import numpy as np
import pytest

from pmd.evaluation.tables import table_of
from pmd.reports.trust import trust_section
from pmd.trust.answer_sets import AnswerSets
from pmd.trust.calibration import Calibration
from pmd.trust.first_answers import FirstAnswers
from pmd.trust.odds import Odds
from pmd.trust.reliability import (
    COVERAGES,
    calibrated,
    calibration_rows,
    coverage_rows,
    measure_trust,
    members,
    reliability,
    summary,
)

from .graphs import SmallIndex, SmallModel
from .test_odds import drawn


def test_the_calibration_error_by_hand():
    measured = reliability(np.array([0.05, 0.05, 0.75, 0.71, 1.0]), np.array([False, True, True, False, True]))
    expected = [[0.05, 0.5, 2], [0.73, 0.5, 2], [1.0, 1.0, 1]]
    assert [value for row in measured["bins"] for value in row] == pytest.approx([v for row in expected for v in row])
    assert measured["ece"] == pytest.approx((2 * 0.45 + 2 * 0.23) / 5)


def test_calibrated_probabilities_have_hardly_an_error_and_overconfident_ones_have():
    rng = np.random.default_rng(0)
    probabilities = rng.random(20_000)
    holds = rng.random(20_000) < probabilities
    assert reliability(probabilities, holds)["ece"] < 0.01
    assert reliability(probabilities**0.25, holds)["ece"] > 0.2


def test_of_drawn_answers_the_true_temperature_is_calibrated_and_another_is_not():
    questions = drawn(4000, 1.5)
    right, flat = (Odds(np.full(2, value), np.ones(2), np.zeros(2)) for value in (1.5, 0.3))
    assert (
        calibrated(right, FirstAnswers(), questions)["first"]["ece"] < 0.03
        and calibrated(right, FirstAnswers(), questions)["ten"]["ece"] < 0.01
    )
    assert calibrated(flat, FirstAnswers(), questions)["first"]["ece"] > 0.15
    assert (
        calibrated(right, FirstAnswers(), questions)["log_loss"]
        < calibrated(flat, FirstAnswers(), questions)["log_loss"]
    )


def test_members_and_summary_by_a_plain_loop():
    questions = drawn(50, 1.0, groups=4)
    odds = Odds(np.array([0.8, 1.2]), np.array([1.0, 0.9, 1.1, 1.0]), np.array([0.0, 0.1, -0.1, 0.2]))
    true, rivals = odds.held_out_logits(questions)
    sets = AnswerSets(questions.groups, true)
    hit, size = members(odds, sets, questions, 0.7)
    for row in range(50):
        threshold = sets.threshold(int(questions.groups[row]), 0.7)
        assert hit[row] == (true[row] >= threshold)
        assert size[row] == sum(logit >= threshold for logit in [true[row], *rivals[row]])
    measured = summary(hit, size)
    assert measured["coverage"] == hit.mean() and measured["median_size"] == np.median(size)
    low, high = measured["interval"]
    assert low < measured["coverage"] < high and measured["empty"] == (size == 0).mean()
    assert summary(np.array([True, False]), np.array([101, 0]))["large"] == 0.5


def test_what_is_measured_of_a_model_as_tables(tmp_path):
    index = SmallIndex()
    model = SmallModel(index)
    model.logit_scale = 1.0
    index.relations = type("Names", (), {"pair": staticmethod(lambda row: (f"r{row}", f"relation {row}"))})
    from pmd.trust.calibration import learn_calibration

    facts, columns = learn_calibration(model)
    measured = measure_trust(model, Calibration.stored(columns.__getitem__, facts, "valid"), "test")
    assert measured["questions"] == 2 * len(index.splits["test"]) and len(measured["coverage"]) == 2 * len(COVERAGES)
    for row in measured["coverage"]:
        parts = [r for r in measured["relations"] if (r["asked"], r["candidates"]) == (row["asked"], row["candidates"])]
        assert sum(r["questions"] for r in parts) == row["questions"] and len(parts) == 4
        assert sum(r["coverage"] * r["questions"] for r in parts) == pytest.approx(row["coverage"] * row["questions"])
    before, after = calibration_rows(measured)
    assert before["probabilities"] == "before" and float(after["log loss"]) == pytest.approx(
        measured["calibration"]["after"]["log_loss"], abs=1e-3
    )
    assert "80%" in table_of(coverage_rows(measured["coverage"])).markdown()
    section = trust_section({"stage": measured, "other": {"missing": "nothing"}}, lambda name: tmp_path / name)
    assert (tmp_path / "reliability-1.svg").is_file() and section.title == "Probabilities and answer sets"
    assert trust_section({}, lambda name: tmp_path / name) is None
