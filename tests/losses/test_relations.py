"""Relations among tokens and among texts, against loops over them."""

import math

import pytest
import torch

from pmd.losses.relations import agreement, angles, distances, relation_errors, token_relations


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def slow_relations(left, right, heads, mask):
    """Row by row: {(text, head, token): probabilities of the real tokens}."""
    size = left.shape[-1] // heads
    found = {}
    for b in range(len(left)):
        real = [t for t in range(left.shape[1]) if mask[b, t]]
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for t in real:
                products = [float(left[b, t, part] @ right[b, u, part]) / math.sqrt(size) for u in real]
                total = sum(map(math.exp, products))
                found[b, h, t] = [math.exp(product) / total for product in products]
    return found


def test_relations_and_their_divergence_equal_loops():
    # Widths and sizes of heads differ, their number does not.
    parts = (drawn(2, 4, 6), drawn(2, 4, 6, seed=1)), (drawn(2, 4, 12, seed=2), drawn(2, 4, 12, seed=3))
    fast = [token_relations(*pair, 3, MASK) for pair in parts]
    slow = [slow_relations(*pair, 3, MASK) for pair in parts]
    for (b, h, t), row in slow[0].items():
        assert fast[0][b, h, t].exp()[: len(row)].tolist() == pytest.approx(row, abs=1e-5)
        assert fast[0][b, h, t].exp()[len(row) :].sum() == 0
    each = [sum(p * math.log(p / q) for p, q in zip(slow[1][place], slow[0][place])) for place in slow[0]]
    found = relation_errors(*fast, MASK)  # in the order of texts, heads and tokens
    assert found.tolist() == pytest.approx(each, abs=1e-5) and len(each) == 3 * (4 + 2)
    assert relation_errors(fast[0], fast[0], MASK).tolist() == [0.0] * len(each)


def test_distances_and_angles_equal_loops():
    vectors = drawn(4, 3)
    apart = [[math.dist(a.tolist(), b.tolist()) for b in vectors] for a in vectors]
    mean = sum(map(sum, apart)) / 12
    torch.testing.assert_close(distances(vectors), torch.tensor(apart) / mean)
    for j in range(4):
        for i in range(4):
            for k in range(4):
                a, b = vectors[i] - vectors[j], vectors[k] - vectors[j]
                expected = 0.0 if j in (i, k) else float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
                assert float(angles(vectors)[j, i, k]) == pytest.approx(expected, abs=1e-5)


def test_relations_of_texts_do_not_see_scale_place_or_width():
    vectors = drawn(4, 3)
    moved = torch.cat([5 * vectors + 2, torch.ones(4, 2)], 1)
    for relation in (distances, angles):
        torch.testing.assert_close(relation(moved), relation(vectors), atol=1e-5, rtol=1e-5)


def test_equal_vectors_have_finite_gradients():
    vectors = torch.ones(3, 4, requires_grad=True)
    other = drawn(3, 5)
    (agreement(distances(vectors), distances(other)) + agreement(angles(vectors), angles(other))).backward()
    assert vectors.grad.isfinite().all()


def test_agreement_by_hand():
    assert float(agreement(torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.0]))) == pytest.approx((0.125 + 2.5) / 2)


def test_relations_are_as_exact_within_mixed_precision():
    left, right = drawn(2, 4, 6), drawn(2, 4, 6, seed=1)
    expected = token_relations(left, right, 3, MASK), angles(left[0])
    with torch.autocast("cpu", torch.bfloat16):
        found = token_relations(left, right, 3, MASK), angles(left[0])
    for own, other in zip(found, expected):
        torch.testing.assert_close(own, other, atol=0, rtol=0)
