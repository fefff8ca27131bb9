import pytest

from pmd.training.batching import epoch_batches, share_of_batch, steps_per_epoch


@pytest.mark.parametrize(("n", "size"), [(10, 4), (7, 7), (100, 32), (5, 50)])
def test_an_epoch_uses_every_example_at_most_once_in_equal_batches(n, size):
    batches = epoch_batches(n, size, seed=3, epoch=0)
    flat = [position for batch in batches for position in batch]
    assert len(batches) == steps_per_epoch(n, size)
    assert len({len(batch) for batch in batches}) == 1 and len(batches[0]) <= size
    assert len(set(flat)) == len(flat) and set(flat) <= set(range(n))
    assert n - len(flat) < len(batches)


def test_processes_share_a_batch():
    class Whole:
        def share(self, positions, process, processes):
            return positions, process, processes

    positions = [*range(7)]
    assert [share_of_batch(list, process, 3, positions) for process in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert share_of_batch(Whole(), 1, 3, positions) == (positions, 1, 3)
    assert share_of_batch(list, 0, 1, positions) == positions


def test_another_order_is_kept():
    batches = epoch_batches(10, 4, seed=2, epoch=3, order=lambda seed, epoch: [seed, epoch, *range(4, 12)])
    assert [*batches] == [[2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_seed_and_epoch_decide_the_order():
    first = [*epoch_batches(50, 10, seed=0, epoch=0)]
    assert first == [*epoch_batches(50, 10, seed=0, epoch=0)]
    assert first != [*epoch_batches(50, 10, seed=0, epoch=1)]
    assert first != [*epoch_batches(50, 10, seed=1, epoch=0)]


def test_the_rest_of_an_epoch_is_its_last_batches():
    batches = epoch_batches(100, 32, seed=1, epoch=4)
    assert [*batches[2:]] == [*batches][2:] and [*batches[1:][1:]] == [*batches][2:] and not len(batches[4:])
    assert all(type(position) is int for batch in batches for position in batch)
