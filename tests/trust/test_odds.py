"""Probabilities: temperature, scale and bias against slow searches, and data of known odds."""

import numpy as np
import pytest

from pmd.trust.held_out import HeldOut
from pmd.trust.odds import PRIOR, WIDEST, Odds, best_inverse_temperature, learn, log_loss, probability, scale_and_bias


def drawn(number, inverse_temperature, *, candidates=30, scale=1.0, groups=1, seed=0):
    """Questions whose true answer is drawn by the softmax of their scores, which are multiplied by `scale`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(number, candidates)) * scale
    shares = np.exp(inverse_temperature * scores)
    answers = [rng.choice(candidates, p=row / row.sum()) for row in shares]
    rows = np.arange(number)
    true = scores[rows, answers]
    scores[rows, answers] = -np.inf
    rivals = -np.sort(-scores)[:, :-1]
    return HeldOut(rng.integers(0, groups, number), true, rivals, np.ones(candidates - 1))


def softmax_loss(questions, inverse_temperature):
    true, _ = questions.log_odds(np.full(len(questions), inverse_temperature))
    return -np.log(probability(true)).mean()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_temperature_of_drawn_answers_is_found_at_every_scale_of_scores(scale):
    questions = drawn(4000, 2.0 / scale, scale=scale)
    found = best_inverse_temperature(questions)
    assert found * scale == pytest.approx(2.0, rel=0.05)
    grid = found * np.array([0.9, 1.0, 1.1])
    assert np.argmin([softmax_loss(questions, value) for value in grid]) == 1


def test_the_temperature_of_a_model_without_mistakes_is_finite():
    rivals = -np.sort(-np.random.default_rng(0).normal(size=(50, 20)))
    perfect = HeldOut(np.zeros(50, np.int64), rivals[:, 0] + 3, rivals, np.ones(20))
    true, _ = perfect.log_odds(np.full(50, best_inverse_temperature(perfect)))
    assert 0.9 < probability(true).mean() < 1 and probability(true).min() > 0.5
    worst = HeldOut(np.zeros(50, np.int64), rivals[:, -1] - 3, rivals, np.ones(20))
    assert 1 / (2 * WIDEST) < best_inverse_temperature(worst) < 0.01
    flat = HeldOut(np.zeros(5, np.int64), np.ones(5), np.ones((5, 20)), np.ones(20))
    assert best_inverse_temperature(flat) == 1


def test_scale_and_bias_minimise_the_loss_with_its_prior():
    questions = drawn(40, 1.0)
    true, rivals = questions.log_odds(np.full(40, 0.6))
    found = scale_and_bias(true, rivals, questions.counts)

    def objective(scale, bias):
        loss = log_loss(scale * true + bias, scale * rivals + bias, questions.counts) * len(true)
        return loss + PRIOR / 2 * ((scale - 1) ** 2 + bias**2)

    grid = [(scale, bias) for scale in np.arange(0.5, 2.5, 0.02) for bias in np.arange(-1, 1, 0.02)]
    assert objective(*found) <= min(objective(*point) for point in grid) + 1e-6
    best = min(grid, key=lambda point: objective(*point))
    assert found == pytest.approx(best, abs=0.02)
    assert found[0] > 1.2  # 1.0 was drawn by, at 0.6 the log-odds are too flat


def test_a_relation_without_questions_has_the_odds_of_its_direction():
    questions = drawn(60, 1.0, groups=2)  # heads of relations 0 and 1; no tails
    odds = learn(questions, num_relations=3)
    assert odds.scales[2:].tolist() == [1] * 4 and odds.biases[2:].tolist() == [0] * 4
    assert odds.inverse_temperatures[1] == 1 and (odds.scales[:2] != 1).all()


def test_logits_of_all_entities_are_those_of_the_held_out_question():
    questions = drawn(8, 1.0, groups=4)
    odds = Odds(np.array([0.5, 2.0]), np.array([1.0, 1.5, 0.7, 2.0]), np.array([0.1, -0.2, 0.3, 0.4]))
    true, rivals = odds.held_out_logits(questions)
    for row in range(8):
        scores = np.concatenate([questions.true[row : row + 1], questions.rivals[row]])
        logits = odds.logits(scores, np.ones(30, dtype=bool), int(questions.groups[row]))
        assert logits == pytest.approx(np.concatenate([true[row : row + 1], rivals[row]]))
