import math

import pytest
import torch

from pmd.losses.contrastive import contrastive_loss

from .. import slow


def nothing(b: int, c: int | None = None) -> torch.Tensor:
    return torch.zeros(b, c or b, dtype=torch.bool)


def test_two_pairs_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    rows = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))) / 2
    columns = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    assert contrastive_loss(logits, nothing(2)).item() == pytest.approx(rows + columns, abs=1e-6)


def test_a_false_negative_counts_in_neither_direction():
    logits = torch.tensor([[1.0, 9.0, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    false = nothing(3)
    false[0, 1] = True
    e = math.e
    rows = math.log(1 + 1 / e) + math.log((e**2 + e + 1) / e) + math.log((1 + e + e) / e)
    columns = math.log((e + e**2 + 1) / e) + math.log((e + e) / e) + math.log((1 + 1 + e) / e)
    assert contrastive_loss(logits, false).item() == pytest.approx((rows + columns) / 3, abs=1e-6)


def test_own_heads_and_earlier_entities_are_negatives_of_the_queries_alone():
    logits, own = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([math.log(2.0), 5.0])
    earlier = torch.tensor([[0.0, math.log(4.0), 7.0], [math.log(3.0), 0.0, 0.0]])
    seen = torch.tensor([[False, False, True], [False, False, False]])
    loss = contrastive_loss(
        logits,
        nothing(2),
        head=own,
        head_is_answer=torch.tensor([False, True]),
        pre_batch=earlier,
        pre_batch_left_out=seen,
    )
    rows = (math.log(2 + 2 + 1 + 4) + math.log(2 + 3 + 1 + 1)) / 2
    assert loss.item() == pytest.approx(rows + math.log(2), abs=1e-6)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("earlier", [0, 4])
def test_it_is_the_loss_of_simkgc(own, earlier):
    torch.manual_seed(0)
    b, scale, margin = 6, 17.0, 0.02
    query, tail, head = torch.nn.functional.normalize(torch.randn(3, b, 8), dim=-1)
    before = torch.nn.functional.normalize(torch.randn(max(earlier, 1), 8), dim=-1)
    false = torch.rand(b, b) < 0.3
    false.fill_diagonal_(False)
    is_answer, was_answer = torch.rand(b) < 0.4, torch.rand(b, max(earlier, 1)) < 0.3
    more, options = {}, {}
    if own:
        more |= {"head": head, "head_is_answer": is_answer.tolist()}
        options |= {"head": (query * head).sum(1) * scale, "head_is_answer": is_answer}
    if earlier:
        more |= {"earlier": before, "earlier_is_answer": was_answer.tolist(), "earlier_weight": 0.3}
        options |= {"pre_batch": query @ before.T * scale * 0.3, "pre_batch_left_out": was_answer}
    expected = slow.simkgc_loss(query, tail, scale, margin, false.tolist(), **more)
    logits = (query @ tail.T - margin * torch.eye(b)) * scale
    assert contrastive_loss(logits, false, **options).item() == pytest.approx(expected.item(), rel=1e-6)


def test_it_equals_a_double_loop_of_logarithms():
    torch.manual_seed(1)
    b, p = 5, 3
    logits, own, earlier = torch.randn(b, b) * 3, torch.randn(b), torch.randn(b, p)
    false, is_answer, was_answer = torch.rand(b, b) < 0.3, torch.rand(b) < 0.5, torch.rand(b, p) < 0.5
    false.fill_diagonal_(False)
    total = 0.0
    for i in range(b):
        row = sum(math.exp(logits[i, j]) for j in range(b) if not false[i, j])
        row += 0.0 if is_answer[i] else math.exp(own[i])
        row += sum(math.exp(earlier[i, j]) for j in range(p) if not was_answer[i, j])
        column = sum(math.exp(logits[j, i]) for j in range(b) if not false[j, i])
        total += math.log(row) + math.log(column) - 2 * float(logits[i, i])
    found = contrastive_loss(
        logits, false, head=own, head_is_answer=is_answer, pre_batch=earlier, pre_batch_left_out=was_answer
    )
    assert found.item() == pytest.approx(total / b, rel=1e-5)


def test_what_is_masked_gets_no_gradient():
    logits, own = torch.randn(3, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    false = nothing(3)
    false[2, 0] = True
    is_answer = torch.tensor([False, True, False])
    contrastive_loss(logits, false, head=own, head_is_answer=is_answer).backward()
    assert logits.grad[2, 0] == 0 and own.grad[1] == 0
    assert (logits.grad.abs() > 0).sum() == 8 and (own.grad.abs() > 0).sum() == 2


def test_half_precision_stays_finite():
    logits = torch.tensor([[50.0, -50.0], [-50.0, 50.0]], dtype=torch.bfloat16)
    false = nothing(2)
    false[0, 1] = True
    assert contrastive_loss(logits, false).item() == pytest.approx(0, abs=1e-6)
    assert contrastive_loss(logits.half(), false).isfinite()
