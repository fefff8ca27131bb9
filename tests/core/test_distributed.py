"""What processes share and how they fail together, by two of them."""

import pytest
import torch
from accelerate import Accelerator

import pmd
from pmd.core.distributed import add_parts, all_gather, map_shared, means_over_processes, rank, share_of
from pmd.core.errors import PmdError

from ..conftest import build_random_graph


def share() -> None:
    """In both processes: results in order, rows in unequal numbers, sums and means."""
    Accelerator(cpu=True)
    assert map_shared(range(5), lambda item: (item, rank())) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]
    rows = all_gather(torch.full((2 + rank(), 3), rank(), dtype=torch.float))
    assert rows[:, 0].tolist() == [0, 0, 1, 1, 1]
    assert means_over_processes([torch.tensor(float(rank())), torch.tensor(3.0)]) == [0.5, 3.0]
    part = torch.zeros(4, 2)
    part[rank() :: 2] = 1 + rank()
    assert add_parts(part)[:, 0].tolist() == [1, 2, 1, 2]


def gradients_of_unequal_rows() -> None:
    Accelerator(cpu=True)
    weight = torch.ones(3, requires_grad=True)
    rows = torch.arange(15.0).view(5, 3)[share_of(5, rank(), 2)]
    all_gather(rows * weight).square().sum().backward()
    own = rows.square().sum(0) * 2
    torch.testing.assert_close(weight.grad, own * 2)  # each of two processes has the loss of all rows


class OneFails:
    """A scorer that fails in the second process alone."""

    def __init__(self, error: Exception):
        self.error = error

    def score_all(self, triples, target):
        if rank() == 1:
            raise self.error
        return torch.zeros(len(triples), 12)


def fail_together() -> None:
    Accelerator(cpu=True)
    graph = build_random_graph()
    with pytest.raises(PmdError, match=r"^no scores$"):
        pmd.rank(OneFails(PmdError("no scores")), graph)
    with pytest.raises(
        RuntimeError if rank() == 0 else ValueError, match="process 1 failed: odd" if rank() == 0 else "odd"
    ):
        pmd.rank(OneFails(ValueError("odd")), graph)
    if rank() == 0:  # alone, while the other does something else
        assert pmd.rank(OneFails(PmdError("no scores")), graph, shared=False).num_queries == 24


@pytest.mark.parametrize("function", [share, gradients_of_unequal_rows, fail_together])
def test_in_two_processes(two_processes, function):
    two_processes.call(f"{__name__}:{function.__name__}")


def test_shares_are_all_and_even():
    for count in range(20):
        for processes in range(1, 8):
            shares = [[*range(count)][share_of(count, process, processes)] for process in range(processes)]
            assert [item for part in shares for item in part] == [*range(count)]
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
