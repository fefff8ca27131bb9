import math

import pytest
import torch
from scipy.special import rel_entr, softmax

from pmd.losses.distillation import (
    feature_errors,
    patient_errors,
    patient_layers,
    score_loss,
    similarity_errors,
    softened_loss,
)


def test_scores_by_hand():
    student, teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [6.0, 4.0]])
    assert score_loss(student, teacher).item() == (0 + 4 + 9 + 0) / 4


def test_features_by_hand():
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [2.0, 4.0]])
    assert feature_errors(student, teacher).tolist() == [4.5, 10.0]
    assert feature_errors(student, teacher, "sum").tolist() == [9.0, 20.0]
    assert feature_errors(student[:0], teacher[:0]).shape == (0,)


def test_softened_logits_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3.0), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert softened_loss(student, teacher, 2.0).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.5])
def test_softened_logits_equal_scipys_divergence(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 9) * 5, torch.randn(4, 9) * 5
    p, q = (softmax(logits.double().numpy() / temperature, axis=1) for logits in (teacher, student))
    expected = rel_entr(p, q).sum(axis=1).mean() * temperature**2
    assert softened_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_equal_logits_cost_nothing():
    logits = torch.randn(4, 4)
    assert softened_loss(logits, logits + 3.0, 2.0).item() == pytest.approx(0, abs=1e-6)  # a shift is no difference
    assert score_loss(logits, logits).item() == 0


def test_patient_errors_by_hand():
    student = torch.tensor([[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]])
    teacher = torch.tensor([[30.0, 40.0], [7.0, 0.0], [-1.0, 0.0]])
    assert patient_errors(student, teacher).tolist() == pytest.approx([0.0, 2.0, 4.0], abs=1e-6)


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (3, 6, {1: 2, 2: 4}),
        (6, 12, {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}),
        (3, 12, {1: 4, 2: 8}),
        (9, 12, {1: 1, 2: 2, 3: 4, 4: 5, 5: 6, 6: 8, 7: 9, 8: 10}),
        (2, 2, {1: 1}),
        (1, 6, {}),
    ],
)
def test_patient_layers_skip_evenly(student, teacher, pairs):
    assert patient_layers(student, teacher) == pairs


def test_similarities_by_hand():
    student = torch.tensor([[9.0, 0.1, 0.5], [0.1, 9.0, 0.2], [0.5, 0.2, 9.0]])
    teacher = torch.tensor([[-9.0, 0.3, 0.5], [0.3, -9.0, 0.6], [0.5, 0.6, -9.0]])
    squares = torch.tensor([[0.04, 0.0], [0.04, 0.16], [0.0, 0.16]])  # a text's similarity to itself says nothing
    torch.testing.assert_close(similarity_errors(student, teacher), squares)
    rows = [([0.1, 0.5], [0.3, 0.5]), ([0.1, 0.2], [0.3, 0.6]), ([0.5, 0.2], [0.5, 0.6])]
    expected = [4 * rel_entr(*(softmax([x / 2 for x in row]) for row in (theirs, ours))).sum() for ours, theirs in rows]
    torch.testing.assert_close(similarity_errors(student, teacher, 2.0), torch.tensor(expected).float())
    alone = torch.ones(1, 1)
    assert similarity_errors(alone, alone).numel() == 0 and similarity_errors(alone, alone, 2.0).sum() == 0
