"""Gradients of their own against PyTorch's: rows that are read several times, points that meet."""

import pytest
import torch
from torch.nn.functional import embedding

from pmd.models.kge import kernels
from pmd.models.kge.kernels import euclidean, manhattan, read_rows, sum_of_moduli

SHAPES = [((6, 10), (9, 10)), ((4, 1, 10), (4, 9, 10)), ((2, 3, 1, 10), (2, 3, 7, 10)), ((2, 3, 10), (2, 4, 10))]


def modulus_sums(query, candidates):
    """`sum_of_moduli` of points of which one half is real and the other imaginary."""
    return sum_of_moduli(query.unflatten(-1, (2, -1)), candidates.unflatten(-1, (2, -1)))


def slow_distances(kernel, query, candidates):
    """Of all pairs, without a kernel."""
    differences = query.unsqueeze(-2) - candidates.unsqueeze(-3)
    if kernel is modulus_sums:
        return torch.complex(*differences.chunk(2, dim=-1)).abs().sum(-1)
    return differences.square().sum(-1).sqrt() if kernel is euclidean else differences.abs().sum(-1)


KERNELS = pytest.mark.parametrize("kernel", [euclidean, manhattan, modulus_sums])
BLOCKS = pytest.mark.parametrize("block", [2**22, 40], ids=["whole", "blocks"])


def gradients(distances, weight, *inputs):
    return torch.autograd.grad((distances * weight).sum(), inputs)


@KERNELS
@BLOCKS
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_distances_and_their_gradients(kernel, block, shapes, monkeypatch):
    monkeypatch.setattr(kernels, "CPU_BLOCK", block)
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found, expected = kernel(*inputs), slow_distances(kernel, *inputs)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(found)
    for one, other in zip(gradients(found, weight, *inputs), gradients(expected, weight, *inputs)):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kernel", [euclidean, manhattan])
def test_candidates_that_all_queries_share_get_the_sum_of_the_gradients(kernel):
    torch.manual_seed(0)
    query = torch.randn(4, 1, 5, dtype=torch.float64, requires_grad=True)
    candidates = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    found, expected = kernel(query, candidates), slow_distances(kernel, query, candidates)
    weight = torch.randn_like(found)
    for one, other in zip(gradients(found, weight, query, candidates), gradients(expected, weight, query, candidates)):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("kernel", "distance", "pull"),
    [
        (euclidean, 5.0, [0.0, 0.6, 0.0, -0.8]),
        (manhattan, 7.0, [0.0, 1.0, 0.0, -1.0]),
        (modulus_sums, 5.0, [0.0, 0.6, 0.0, -0.8]),  # 0 and 3 − 4i apart
    ],
)
@pytest.mark.parametrize("queries", [1, 3])
def test_points_that_meet_pull_at_nothing(kernel, distance, pull, queries):
    point, away = torch.arange(4.0), torch.tensor([0.0, 3.0, 0.0, -4.0])
    query = point.repeat(queries, 1).requires_grad_()
    candidates = torch.stack([point, point + away]).requires_grad_()
    found = kernel(query, candidates)
    assert found.tolist() == [[0, distance]] * queries
    to_query, to_candidates = torch.autograd.grad(found.sum(), (query, candidates))
    pull = torch.tensor(pull)
    torch.testing.assert_close(to_query, -pull.expand(queries, -1))
    assert to_candidates[0].tolist() == [0] * 4
    torch.testing.assert_close(to_candidates[1], queries * pull)


@pytest.mark.parametrize("size", [1.0, 1e-10, 1e-21, 1e-25, 1e-35])
@pytest.mark.parametrize("queries", [1, 4])
def test_distances_of_very_small_points(size, queries):
    """Their squares are 0 in single precision."""
    torch.manual_seed(0)
    query, candidates = size * torch.randn(queries, 16), size * torch.randn(50, 16)
    expected = slow_distances(euclidean, query.double(), candidates.double()).float()
    torch.testing.assert_close(euclidean(query, candidates), expected, rtol=3e-7, atol=0)


def test_a_query_is_as_far_from_candidates_by_itself_as_among_others():
    torch.manual_seed(0)
    query, candidates = torch.randn(40, 24), torch.randn(300, 24)
    each = torch.cat([euclidean(one, candidates) for one in query.split(1)])
    assert torch.equal(each, euclidean(query, candidates))


@KERNELS
@pytest.mark.parametrize("queries", [1, 4])
def test_points_that_nearly_meet_keep_their_direction(kernel, queries):
    torch.manual_seed(0)
    candidates = torch.randn(50, 16)
    inputs = [candidates[:queries] + 1e-3 * torch.randn(queries, 16), candidates]
    found = [x.clone().requires_grad_() for x in inputs]
    exact = [x.double().requires_grad_() for x in inputs]
    nearest = torch.eye(queries, 50)
    expected = gradients(slow_distances(kernel, *exact), nearest, *exact)
    for one, other in zip(gradients(kernel(*found), nearest, *found), expected):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(20,), (4, 5), (0,)])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_are_those_of_an_embedding(shape, sparse):
    torch.manual_seed(0)
    table, ids = torch.randn(6, 3, dtype=torch.float64, requires_grad=True), torch.randint(5, shape)
    (found,), expected = read_rows(table, ids, sparse=sparse), embedding(ids, table)
    assert torch.equal(found, expected)
    weight = torch.randn_like(found)
    (one,), (other,) = gradients(found, weight, table), gradients(expected, weight, table)
    assert one.is_sparse == sparse
    torch.testing.assert_close(one.to_dense() if sparse else one, other)
    if sparse:
        assert set(one.coalesce().indices()[0].tolist()) == set(ids.flatten().tolist())


def test_rows_of_several_reads_share_one_gradient():
    torch.manual_seed(0)
    table, ids = (
        torch.randn(6, 3, dtype=torch.float64, requires_grad=True),
        [torch.randint(5, (4,)), torch.randint(5, (2, 3))],
    )
    for sparse in (False, True):
        found, weights = read_rows(table, *ids, sparse=sparse), [torch.randn(4, 3), torch.randn(2, 3, 3)]
        (one,) = torch.autograd.grad(sum((f * w).sum() for f, w in zip(found, weights)), table)
        (other,) = torch.autograd.grad(sum((embedding(i, table) * w).sum() for i, w in zip(ids, weights)), table)
        torch.testing.assert_close(one.to_dense() if sparse else one, other)


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
@BLOCKS
def test_products_are_as_good_as_differences(block, length, monkeypatch):
    monkeypatch.setattr(kernels, "CPU_BLOCK", block)
    torch.manual_seed(0)
    query, candidates = torch.randn(6, 10) * length, torch.randn(50, 10) * length
    candidates[:6] = query  # they meet
    candidates[6:12] = query * (1 + 1e-4)  # they nearly meet
    found, expected = euclidean(query, candidates), slow_distances(euclidean, query.double(), candidates.double())
    assert (found.diagonal() == 0).all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
