"""Losses on scores of triples: numbers by hand, plain loops, and PyKEEN's where it computes the same."""

import math

import pytest
import torch

from pmd.losses.kge import (
    balanced,
    k_vs_all_loss,
    logistic_loss,
    longer_than_one,
    margin_loss,
    n3,
    negative_weights,
    one_vs_all_loss,
    out_of_plane,
    soft_label_loss,
    soft_score_loss,
    soft_softmax_loss,
    softmax_loss,
)

TEMPERATURE = pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def drawn(*shape, seed=0, scale=2.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def marks(b=5, k=4):
    """False negatives at random; in the last row all of them."""
    false = torch.rand(b, k, generator=torch.Generator().manual_seed(1)) < 0.4
    false[0, 0], false[-1] = False, True
    return false


def slow_weights(row, false, temperature):
    powers = [0.0 if hit else math.exp(temperature * score) for score, hit in zip(row, false)]
    return [power / sum(powers) if sum(powers) else 0.0 for power in powers]


@TEMPERATURE
def test_weights_equal_a_loop(temperature):
    scores, false = drawn(5, 4), marks()
    found = negative_weights(scores, false, temperature)
    for row, hits, weights in zip(scores.tolist(), false.tolist(), found.tolist()):
        assert weights == pytest.approx(slow_weights(row, hits, temperature), abs=1e-6)
    assert found.sum(1).tolist() == pytest.approx([1, 1, 1, 1, 0], abs=1e-6)
    everyone = negative_weights(scores, None, temperature)
    torch.testing.assert_close(everyone, negative_weights(scores, torch.zeros_like(false), temperature))


def test_weights_by_hand():
    scores = torch.tensor([[0.0, math.log(3.0), math.log(9.0)]])
    assert negative_weights(scores).tolist()[0] == pytest.approx([1 / 3] * 3)
    assert negative_weights(scores, temperature=1.0).tolist()[0] == pytest.approx([1 / 13, 3 / 13, 9 / 13])
    assert negative_weights(scores, temperature=0.5).tolist()[0] == pytest.approx(
        [1 / (4 + 3**0.5), 3**0.5 / (4 + 3**0.5), 3 / (4 + 3**0.5)]
    )
    false = torch.tensor([[False, False, True]])
    assert negative_weights(scores, false, 1.0).tolist()[0] == pytest.approx([0.25, 0.75, 0])


def test_weights_carry_no_gradient():
    scores = drawn(3, 4).requires_grad_()
    assert not negative_weights(scores, None, 1.0).requires_grad
    assert not negative_weights(scores, marks(3), 1.0).requires_grad


def test_margin_by_hand():
    scores = torch.tensor([[-1.0, -1.5, -4.0], [-2.0, 0.0, -2.0]])
    even = torch.full((2, 2), 0.5)
    # 2 + 1 − 1.5 and nothing; 2 + 2 + 0 and 2 + 2 − 2
    assert margin_loss(scores, even, 2.0).item() == pytest.approx((0.75 + 3) / 2)
    assert margin_loss(scores, torch.tensor([[1.0, 0.0], [0.25, 0.75]]), 2.0).item() == pytest.approx((1.5 + 2.5) / 2)


def test_logistic_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0), -math.log(3.0)]])
    assert [sigmoid(-x) for x in (math.log(3), -math.log(3))] == pytest.approx([0.25, 0.75])
    found = logistic_loss(logits, torch.tensor([[0.5, 0.5]])).item()
    assert found == pytest.approx((math.log(2) + (math.log(4) + math.log(4 / 3)) / 2) / 2, abs=1e-6)


@TEMPERATURE
@pytest.mark.parametrize("marked", [False, True])
def test_margin_and_logistic_loss_equal_a_loop(temperature, marked):
    scores, false = drawn(5, 5), marks() if marked else torch.zeros(5, 4, dtype=torch.bool)
    weights = negative_weights(scores[:, 1:], false if marked else None, temperature)
    margin = logistic = 0.0
    for (true, *row), hits in zip(scores.tolist(), false.tolist()):
        each = slow_weights(row, hits, temperature)
        margin += sum(w * max(0.0, 1.5 - true + score) for w, score in zip(each, row)) / 5
        wrong = sum(w * math.log(sigmoid(-score)) for w, score in zip(each, row))
        logistic -= (math.log(sigmoid(true)) + wrong) / 2 / 5
    assert margin_loss(scores, weights, 1.5).item() == pytest.approx(margin, rel=1e-5)
    assert logistic_loss(scores, weights).item() == pytest.approx(logistic, rel=1e-5)


def test_a_row_of_false_negatives_alone_teaches_its_true_triple_and_nothing_else():
    scores, false = drawn(5, 5).requires_grad_(), marks()
    weights = negative_weights(scores[:, 1:], false, 1.0)
    margin = torch.autograd.grad(margin_loss(scores, weights, 9.0), scores)[0]
    assert margin[-1].tolist() == [0] * 5 and (margin[:-1, 0] < 0).all()
    logistic = torch.autograd.grad(logistic_loss(scores, weights), scores)[0]
    assert logistic[-1, 1:].tolist() == [0] * 4
    # d/ds of −log σ(s) / 2, mean of five rows
    assert logistic[-1, 0].item() == pytest.approx(-sigmoid(-scores[-1, 0].item()) / 10, rel=1e-5)
    softmax = torch.autograd.grad(softmax_loss(scores, false), scores)[0]
    assert softmax[-1].tolist() == [0] * 5 and (softmax[:-1, 0] < 0).all()
    for gradient in (margin, logistic, softmax):
        assert gradient[:, 1:][false].tolist() == [0] * int(false.sum())


def test_the_even_margin_loss_is_pykeens():
    losses, scores = pytest.importorskip("pykeen.losses"), drawn(6, 5)
    expected = losses.MarginRankingLoss(margin=1.5).process_slcwa_scores(scores[:, :1], scores[:, 1:])
    found = margin_loss(scores, negative_weights(scores[:, 1:]), 1.5)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    # PyKEEN's mean is over pairs, ours over rows: with marked negatives they differ, unless every row has as many.
    false = torch.zeros(6, 4, dtype=torch.bool)
    false[:, 2] = True
    kept = scores[:, 1:][~false]
    expected = losses.MarginRankingLoss(margin=1.5).process_slcwa_scores(scores[:, :1], kept, batch_filter=~false)
    found = margin_loss(scores, negative_weights(scores[:, 1:], false), 1.5)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("marked", [False, True])
def test_the_self_adversarial_loss_is_pykeens(temperature, marked):
    """PyKEEN adds its margin to the scores itself; here the logits come with theirs."""
    losses, scores, false = pytest.importorskip("pykeen.losses"), drawn(6, 5), None
    pykeen = losses.NSSALoss(margin=3.0, adversarial_temperature=temperature)
    negative, keep = scores[:, 1:], None
    if marked:  # PyKEEN refuses a row without negatives
        false = marks(6)
        false[-1, 1] = False
        negative, keep = negative[~false], ~false
    expected = pykeen.process_slcwa_scores(scores[:, :1], negative, batch_filter=keep)
    logits = scores + 3.0
    found = logistic_loss(logits, negative_weights(logits[:, 1:], false, temperature))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_softmax_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0), 0.0], [math.log(2.0), 0.0, 5.0]])
    false = torch.tensor([[False, False], [False, True]])
    assert softmax_loss(logits, false).item() == pytest.approx((math.log(5) + math.log(1.5)) / 2, abs=1e-6)
    both = torch.tensor([[False, False], [True, True]])
    assert softmax_loss(logits, both).item() == pytest.approx(math.log(5) / 2, abs=1e-6)


@pytest.mark.parametrize("marked", [False, True])
def test_softmax_equals_a_loop(marked):
    logits, false, total = drawn(5, 5), marks() if marked else None, 0.0
    for i, (true, *row) in enumerate(logits.tolist()):
        others = sum(math.exp(x) for j, x in enumerate(row) if not (marked and false[i, j]))
        total += math.log(math.exp(true) + others) - true
    assert softmax_loss(logits, false).item() == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_vs_all_equals_a_loop(smoothing):
    logits, answers, total = drawn(5, 7), torch.tensor([0, 6, 3, 3, 1]), 0.0
    for row, answer in zip(logits.tolist(), answers.tolist()):
        logsum = math.log(sum(map(math.exp, row)))
        for j, x in enumerate(row):
            label = (1 - smoothing) * (j == answer) + smoothing / 7
            total += label * (logsum - x)
    assert one_vs_all_loss(logits, answers, smoothing).item() == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_k_vs_all_equals_a_double_loop(smoothing):
    logits, total = drawn(3, 7), 0.0
    answers = [{0, 6}, {3}, set()]
    labels = torch.tensor([(i, j) for i, row in enumerate(answers) for j in row]).T
    for i, row in enumerate(logits.tolist()):
        for j, x in enumerate(row):
            label = (1 - smoothing) * (j in answers[i]) + smoothing / 7
            total -= label * math.log(sigmoid(x)) + (1 - label) * math.log(sigmoid(-x))
    assert k_vs_all_loss(logits, labels, smoothing).item() == pytest.approx(total / 21, rel=1e-5)


def test_k_vs_all_by_hand():
    labels = torch.tensor([[0], [1]])
    logits = torch.tensor([[math.log(3.0), math.log(3.0)]])  # σ = 3/4
    assert k_vs_all_loss(logits, labels).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, abs=1e-6)
    expected = 0.1 * math.log(4 / 3) + 0.9 * math.log(4) + 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert k_vs_all_loss(logits, labels, 0.2).item() == pytest.approx(expected / 2, abs=1e-6)


def test_true_triples_and_negatives_have_half_each():
    values = torch.tensor([[1.0, 2.0, 4.0], [0.0, 8.0, 16.0]])
    weights = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    assert balanced(values, weights).item() == pytest.approx(((1 + 3) / 2 + (0 + 14) / 2) / 2)


def test_soft_scores_by_hand():
    student, teacher = torch.tensor([[1.0, -2.0, 0.0], [0.0, 4.0, 1.0]]), torch.tensor([[3.0, -2.5, 1.0], [0.0, 1, 3]])
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert soft_score_loss(student, teacher, weights).item() == pytest.approx(((2 + 0.75) / 2 + (0 + 3) / 2) / 2)


def test_soft_labels_equal_a_double_loop():
    student, teacher, weights = drawn(4, 6), drawn(4, 6, seed=1), torch.rand(4, 5)
    mean = weighted = 0.0
    for i in range(4):
        for j in range(6):
            label, ours = sigmoid(teacher[i, j].item()), sigmoid(student[i, j].item())
            cost = -label * math.log(ours) - (1 - label) * math.log(1 - ours)
            mean += cost / 24
            weighted += cost * (weights[i, j - 1].item() if j else 1.0) / 8
    assert soft_label_loss(student, teacher).item() == pytest.approx(mean, rel=1e-5)
    assert soft_label_loss(student, teacher, weights).item() == pytest.approx(weighted, rel=1e-5)


def test_soft_choices_equal_a_double_loop():
    student, teacher, total = drawn(4, 6), drawn(4, 6, seed=1), 0.0
    for ours, theirs in zip(student.tolist(), teacher.tolist()):
        logsum, powers = math.log(sum(map(math.exp, ours))), [math.exp(x) for x in theirs]
        total += sum(power / sum(powers) * (logsum - x) for power, x in zip(powers, ours))
    assert soft_softmax_loss(student, teacher).item() == pytest.approx(total / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "weights"),
    [(soft_score_loss, True), (soft_label_loss, True), (soft_label_loss, False), (soft_softmax_loss, False)],
)
def test_soft_labels_carry_no_gradient_to_who_gave_them(loss, weights):
    student, teacher = drawn(3, 4).requires_grad_(), drawn(3, 4, seed=1).requires_grad_()
    more = [torch.full((3, 3), 1 / 3)] if weights else []
    loss(student, teacher, *more).backward()
    assert teacher.grad is None and student.grad.abs().min() > 0
    same = teacher.detach().clone().requires_grad_()  # where both agree there is nothing to learn
    assert torch.autograd.grad(loss(same, teacher, *more), same)[0].abs().max() < 1e-7


def test_the_cubic_norm_by_hand():
    numbers = torch.tensor([[[3.0], [4.0]], [[-1.0], [0.0]]])
    assert n3(numbers, complex_parts=True).item() == pytest.approx((125 + 1) / 2)
    assert n3(numbers, complex_parts=False).item() == pytest.approx((27 + 64 + 1) / 2)
    assert n3(numbers, numbers, complex_parts=False).item() == pytest.approx(27 + 64 + 1)


@pytest.mark.parametrize("complex_parts", [False, True])
def test_the_cubic_norm_equals_a_loop(complex_parts):
    factors = [drawn(5, 2, 3, seed=seed) for seed in range(3)]
    total = 0.0
    for factor in factors:
        for row in factor.tolist():
            for a, b in zip(*row):
                total += (a * a + b * b) ** 1.5 if complex_parts else abs(a) ** 3 + abs(b) ** 3
    assert n3(*factors, complex_parts=complex_parts).item() == pytest.approx(total / 5, rel=1e-5)


def test_long_entities_cost_what_they_are_longer():
    entities = torch.tensor([[[0.6, 0.0]], [[3.0, 4.0]], [[1.0, 0.0]], [[1.0, 1.0]]])
    assert longer_than_one(entities).item() == pytest.approx((0 + 24 + 0 + 1) / 4)
    assert longer_than_one(torch.ones(3, 2, 2)).item() == pytest.approx(3)  # both parts count


def test_a_translation_out_of_its_plane_costs_its_squared_cosine():
    normal = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    translation = torch.tensor([[3.0, 4.0], [5.0, 0.0], [0.0, -7.0]])
    expected = (0.36 - 1e-6 + 0 + 0.5 - 1e-6) / 3
    assert out_of_plane(normal, translation).item() == pytest.approx(expected, rel=1e-6)
    assert out_of_plane(normal, translation, epsilon=0.65).item() == pytest.approx((0.5 - 0.65**2) / 3, rel=1e-5)
