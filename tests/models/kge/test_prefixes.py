"""Sums of prefixes: values against plain sums, gradients against differences and against the formula of λ."""

import pytest
import torch

from pmd.models.kge import prefixes
from pmd.models.kge.prefixes import accumulate, block_sizes, block_sums, running_sums

TERMS = pytest.mark.parametrize("terms", ["squared", "moduli", "product"])
PARTS = pytest.mark.parametrize("parts", [1, 2])
SIZES = pytest.mark.parametrize("sizes", [(3, 3, 3), (1, 4, 2), (5,), (1, 1, 1)], ids=str)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.double, generator=generator)


def plain(terms, q, c):
    """What one dimension of one query (parts,) and one candidate (parts,) add."""
    if terms == "product":
        return float((q * c).sum())
    square = float((q - c).square().sum())
    return square if terms == "squared" else square**0.5


@TERMS
@PARTS
@SIZES
@pytest.mark.parametrize("block", [2**17, 30, 1], ids=["whole", "some", "single"])
def test_block_sums_equal_a_loop(terms, parts, sizes, block, monkeypatch):
    monkeypatch.setattr(prefixes, "CPU_BLOCK", block)
    query, candidates = draw(2, 3, parts, sum(sizes)), draw(2, 4, parts, sum(sizes), seed=1)
    found = block_sums(terms, query, candidates, sizes)
    assert found.shape == (len(sizes), 2, 3, 4)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    for n, (end, size) in enumerate(zip(ends, sizes)):
        for g in range(2):
            for m in range(3):
                for k in range(4):
                    dims = range(end - size, end)
                    each = [plain(terms, query[g, m, :, d], candidates[g, k, :, d]) for d in dims]
                    assert found[n, g, m, k].item() == pytest.approx(sum(each))


@TERMS
@PARTS
@SIZES
def test_gradients_of_block_sums(terms, parts, sizes, monkeypatch):
    monkeypatch.setattr(prefixes, "CPU_BLOCK", 40)
    query, candidates = draw(2, 3, parts, sum(sizes)), draw(2, 4, parts, sum(sizes), seed=1)
    inputs = (query.requires_grad_(), candidates.requires_grad_())
    assert torch.autograd.gradcheck(lambda q, c: block_sums(terms, q, c, sizes), inputs)


@TERMS
def test_what_is_passed_back_is_left_as_it_is(terms):
    query, candidates = draw(2, 1, 1, 3).requires_grad_(), draw(2, 4, 1, 3, seed=1)
    sums = block_sums(terms, query, candidates, (1, 1, 1))
    passed = torch.ones_like(sums)
    sums.backward(passed)
    assert torch.equal(passed, torch.ones_like(passed))


@PARTS
def test_where_two_points_meet_the_gradient_of_moduli_is_zero(parts):
    query = draw(1, 1, parts, 4).requires_grad_()
    block_sums("moduli", query, query.detach().clone(), (2, 2)).sum().backward()
    assert torch.equal(query.grad, torch.zeros_like(query))


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0])
def test_the_scale_changes_gradients_and_no_values(scale):
    sums, weights = draw(5, 2, 3).requires_grad_(), draw(5, 2, 3, seed=1)
    found = accumulate(sums, 0, scale)
    assert torch.equal(found, sums.cumsum(0))
    (found * weights).sum().backward()
    # s_i = λ c_i + (1 − λ) (y_i + stop(c_i − y_i))
    again = sums.detach().clone().requires_grad_()
    running = again.cumsum(0)
    mixed = scale * running + (1 - scale) * (again + (running - again).detach())
    (mixed * weights).sum().backward()
    torch.testing.assert_close(sums.grad, again.grad)


def test_running_sums_take_the_scale():
    terms = draw(2, 6).requires_grad_()
    running_sums(terms, (2, 4, 6), 0.0)[:, 2].sum().backward()
    assert terms.grad.tolist() == [[0, 0, 0, 0, 1, 1]] * 2


def test_sizes():
    assert block_sizes((4, 7, 12)) == (4, 3, 5)
