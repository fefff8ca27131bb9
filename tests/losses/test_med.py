"""MED's weights and losses by value, and finite for any input."""

import math

import pytest
import torch
from torch.nn.functional import huber_loss, logsigmoid

from pmd.losses import med
from pmd.losses.med import FLOOR, NEAREST, evolutionary_loss, mutual_loss


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def positive_weights(logits, w1):
    """(n, b) of all sub-models: even for the narrowest."""
    weights, _ = med._positive_weights(logits[:-1].detach(), w1)
    return torch.cat([torch.full_like(logits[:1], 1 / logits.shape[1]), weights])


def negative_weights(logits, w2, false=None):
    """(n, b, k) of all sub-models: even for the narrowest."""
    narrower = torch.cat([torch.zeros_like(logits[:1]), logits[:-1].detach()])
    return med._negative_weights(narrower, w2, false)


def test_a_positive_weighs_more_where_the_neighbour_doubts_it():
    logits = torch.tensor([[2.0, -1.0], [0.0, 0.0], [5.0, 5.0]])
    found = positive_weights(logits, 0.5)
    assert found[0].tolist() == [0.5, 0.5]
    parts = [math.exp(0.5 / sigmoid(2.0)), math.exp(0.5 / sigmoid(-1.0))]
    assert found[1].tolist() == pytest.approx([part / sum(parts) for part in parts])
    assert found[1, 1] > found[1, 0]
    assert found[2].tolist() == pytest.approx([0.5, 0.5])


def test_a_negative_weighs_more_where_the_neighbour_believes_it():
    logits = torch.tensor([[[1.0, -1.0], [0.0, 2.0]], [[9.0, 9.0], [9.0, 9.0]]])
    found = negative_weights(logits, 2.0)
    assert found[0].flatten().tolist() == [0.25] * 4
    parts = [math.exp(2 * x) for x in (1, -1, 0, 2)]
    assert found[1].flatten().tolist() == pytest.approx([part / sum(parts) for part in parts])
    false = torch.tensor([[True, False], [False, False]])
    found = negative_weights(logits, 2.0, false)
    assert found[:, 0, 0].tolist() == [0, 0] and found.sum((1, 2)).tolist() == pytest.approx([1, 1])


def test_no_negative_weighs_where_all_are_false():
    logits = torch.tensor(
        [[[0.5, 1.0, -1.0]], [[2.0, 9.0, 9.0]]], requires_grad=True
    )  # 2 widths, 1 triple, 2 negatives
    w2, false = torch.tensor(2.0, requires_grad=True), torch.ones(1, 2, dtype=torch.bool)
    assert negative_weights(logits[..., 1:], w2, false).tolist() == [[[0, 0]]] * 2
    found = evolutionary_loss(logits, 1.0, w2, false)
    assert found.tolist() == pytest.approx([-math.log(sigmoid(0.5)), -math.log(sigmoid(2.0))])
    found.sum().backward()
    assert w2.grad == 0 and logits.grad[..., 1:].abs().sum() == 0 and logits.grad[..., 0].isfinite().all()


def test_the_loss_by_hand():
    logits = torch.tensor([[[1.0, -2.0], [0.5, 0.0]], [[2.0, 1.0], [-1.0, -1.0]]])  # 2 widths, 2 triples, 1 negative
    found = evolutionary_loss(logits, 1.0, 1.0)
    first = -0.5 * (math.log(sigmoid(1)) + math.log(sigmoid(0.5)) + math.log(sigmoid(2)) + math.log(sigmoid(0)))
    assert found[0].item() == pytest.approx(first)
    p = [math.exp(1 / sigmoid(1.0)), math.exp(1 / sigmoid(0.5))]
    n = [math.exp(-2.0), math.exp(0.0)]
    second = -(p[0] * math.log(sigmoid(2)) + p[1] * math.log(sigmoid(-1))) / sum(p)
    second -= (n[0] * math.log(sigmoid(-1)) + n[1] * math.log(sigmoid(1))) / sum(n)
    assert found[1].item() == pytest.approx(second)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("w", [-3.0, 0.0, 1.0, 50.0])
def test_weights_are_finite_for_any_score(size, sign, w):
    logits = torch.tensor([[[sign * size, -sign * size, 0.0], [0.0, size, 1.0]]] * 3, requires_grad=True)
    w1, w2 = torch.tensor(w, requires_grad=True), torch.tensor(w, requires_grad=True)
    positive, negative = positive_weights(logits[..., 0], w1), negative_weights(logits[..., 1:], w2)
    assert positive.isfinite().all() and negative.isfinite().all()
    assert positive.sum(1).tolist() == pytest.approx([1] * 3) and negative.sum((1, 2)).tolist() == pytest.approx(
        [1] * 3
    )
    evolutionary_loss(logits, w1, w2).sum().backward()
    if size < 1e30:  # the loss of a logit of 1e30 is as large
        assert logits.grad.isfinite().all() and w1.grad.isfinite() and w2.grad.isfinite()


def test_the_neighbour_gets_no_gradient_from_the_weights():
    logits = torch.randn(3, 4, 5, requires_grad=True)
    evolutionary_loss(logits, 1.0, 1.0)[2].backward()
    assert logits.grad[:2].abs().sum() == 0 and logits.grad[2].abs().sum() > 0


def test_belief_is_bounded_below():
    weights = positive_weights(torch.tensor([[-50.0, 50.0]] * 2), 1.0)[1]
    assert (weights[0] / weights[1]).item() == pytest.approx(math.exp(1 / FLOOR - 1), rel=1e-4)


def slow_literal(logits, scores, w1, w2, false):
    """Eq. 3 to 5 as the paper writes them, triple by triple, by PyTorch's own gradients; w1 / s of a distance s < 0."""
    losses = []
    n, triples, negatives = len(logits), range(logits.shape[1]), range(logits.shape[2] - 1)
    for i in range(n):
        drawn_negatives = [(b, k) for b in triples for k in negatives if not false[b, k]]
        positive = {b: 1 / len(triples) for b in triples}
        negative = {pair: 1 / len(drawn_negatives) for pair in drawn_negatives}
        if i:
            exponentials = {b: torch.exp(w1 / scores[i - 1, b].detach()) for b in triples}
            positive = {b: value / sum(exponentials.values()) for b, value in exponentials.items()}
            exponentials = {(b, k): torch.exp(w2 * logits[i - 1, b, 1 + k].detach()) for b, k in drawn_negatives}
            negative = {pair: value / sum(exponentials.values()) for pair, value in exponentials.items()}
        loss = sum(-weight * torch.log(1 / (1 + torch.exp(-logits[i, b, 0]))) for b, weight in positive.items())
        for (b, k), weight in negative.items():
            loss = loss - weight * torch.log(1 - 1 / (1 + torch.exp(-logits[i, b, 1 + k])))
        losses.append(loss)
    return torch.stack(losses)


@pytest.mark.parametrize("block", [1, 30, 2**18], ids=["single", "some", "whole"])
@pytest.mark.parametrize("w", [(1.0, 1.0), (0.7, -1.3), (-0.4, 0.2)], ids=str)
def test_the_literal_form_is_the_papers(block, w, monkeypatch):
    monkeypatch.setattr(med, "BLOCK", block)
    false, share = drawn(4, 3, seed=2) > 1, torch.linspace(1, 2, 5, dtype=torch.double)
    values = []
    for loss in (
        lambda logits, scores, w1, w2: evolutionary_loss(logits, w1, w2, false, scores=scores),
        lambda logits, scores, w1, w2: slow_literal(logits, scores, w1, w2, false),
    ):
        distances = drawn(5, 4, 4).abs() + 0.1
        distances.requires_grad_()
        w1, w2 = (torch.tensor(x, dtype=torch.double, requires_grad=True) for x in w)
        logits = 1.5 * (2 - distances)
        each = loss(logits, -distances[..., 0], w1, w2)
        (each * share).sum().backward()
        values.append((each.detach(), distances.grad, w1.grad, w2.grad))
    for own, expected in zip(*values):
        torch.testing.assert_close(own, expected)
    assert values[0][2].abs() > 1e-4 and values[0][3].abs() > 1e-4


def test_literal_weights_by_hand():
    """A triple that the neighbour fits badly weighs a little more, one that it fits exactly weighs nothing."""
    logits, scores = torch.zeros(1, 3), torch.tensor([[-1.0, -4.0, 0.0]])
    weights, doubts = med._positive_weights(logits, 0.5, None, scores)
    parts = [math.exp(-0.5), math.exp(-0.125), 0.0]
    assert weights[0].tolist() == pytest.approx([part / sum(parts) for part in parts])
    assert doubts[0].tolist() == pytest.approx([-1, -0.25, -1 / NEAREST])
    weights, _ = med._positive_weights(logits, 0.5, torch.tensor([4.0, 1.0, 1.0]), scores)
    assert weights[0].tolist() == pytest.approx(
        [4 * parts[0] / (4 * parts[0] + parts[1]), parts[1] / (4 * parts[0] + parts[1]), 0]
    )


@pytest.mark.parametrize("distance", [0.0, 1e-30, 1.0, 1e4, math.inf])
@pytest.mark.parametrize("w", [-3.0, 0.0, 1.0, 50.0])
def test_literal_weights_are_finite_for_any_distance(distance, w):
    scores = torch.tensor([[-distance, -1.0], [-distance, -distance], [-2.0, -3.0]])
    logits = torch.randn(3, 2, 4, requires_grad=True)
    w1 = torch.tensor(w, requires_grad=True)
    losses = evolutionary_loss(logits, w1, 1.0, scores=scores)
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad.isfinite().all() and w1.grad.isfinite()


def test_mutual_loss_by_hand_pulls_both():
    scores = torch.tensor([[[0.0, 3.0]], [[0.5, 1.0]]], requires_grad=True)
    found = mutual_loss(scores)
    assert found.item() == pytest.approx((0.5 * 0.5**2 + (2 - 0.5)) / 2)
    found.backward()
    assert torch.equal(scores.grad[0], -scores.grad[1]) and scores.grad.abs().min() > 0


def test_a_single_width_has_no_neighbour_to_agree_with():
    scores = torch.tensor([[[0.0, 3.0]]], requires_grad=True)
    found = mutual_loss(scores)
    found.backward()
    assert found.item() == 0 and scores.grad.tolist() == [[[0, 0]]]


def drawn(*shape, seed=0):
    return 2 * torch.randn(shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def plain(logits, w1, w2, false=None):
    """The same loss by PyTorch's own gradients."""
    positive = positive_weights(logits[..., 0], w1) * logsigmoid(logits[..., 0])
    negative = negative_weights(logits[..., 1:], w2, false) * logsigmoid(-logits[..., 1:])
    return -(positive.sum(1) + negative.sum((1, 2)))


BLOCKS = pytest.mark.parametrize("block", [1, 30, 2**18], ids=["single", "some", "whole"])


@BLOCKS
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("masked", ["none", "some", "all"])
def test_gradients_are_those_of_the_plain_loss(block, n, masked, monkeypatch):
    monkeypatch.setattr(med, "BLOCK", block)
    false = {"none": None, "some": drawn(3, 4, seed=2) > 0, "all": torch.ones(3, 4, dtype=torch.bool)}[masked]
    share = torch.linspace(1, 2, n, dtype=torch.double)
    found = []
    for loss in (evolutionary_loss, plain):
        logits, w1, w2 = (
            x.requires_grad_() for x in (drawn(n, 3, 5), torch.tensor(0.7).double(), torch.tensor(1.3).double())
        )
        each = loss(logits, w1, w2, false)
        (each * share).sum().backward()
        found.append((each.detach(), logits.grad, w1.grad, w2.grad))
    for own, expected in zip(*found):
        torch.testing.assert_close(own, torch.zeros_like(own) if expected is None else expected)


@BLOCKS
def test_gradients_of_the_weights_are_differences(block, monkeypatch):
    monkeypatch.setattr(med, "BLOCK", block)
    logits, false = drawn(4, 3, 5), drawn(3, 4, seed=2) > 0.5
    w1, w2 = (torch.tensor(w, dtype=torch.double, requires_grad=True) for w in (0.7, -1.3))
    assert torch.autograd.gradcheck(lambda a, b: evolutionary_loss(logits, a, b, false), (w1, w2))


@BLOCKS
@pytest.mark.parametrize("n", [2, 5])
def test_mutual_loss_is_huber(block, n, monkeypatch):
    monkeypatch.setattr(med, "BLOCK", block)
    scores = drawn(n, 3, 5).requires_grad_()
    torch.testing.assert_close(mutual_loss(scores), huber_loss(scores[1:], scores[:-1]))
    assert torch.autograd.gradcheck(mutual_loss, (scores,))
