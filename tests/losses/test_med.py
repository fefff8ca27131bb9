"""MED's weights and losses by value, and finite for any input."""

import math

import pytest
import torch
from torch.nn.functional import huber_loss, logsigmoid

from pmd.losses import med
from pmd.losses.med import FLOOR, evolutionary_loss, mutual_loss


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
