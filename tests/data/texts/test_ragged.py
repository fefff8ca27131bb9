import numpy as np
import pytest

from pmd.data.texts.ragged import Ragged

ROWS = [[3, 1, 4], [], [1, 5], [9], [2, 6, 5, 3]]


def lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[row].tolist() for row in range(len(ragged))]


@pytest.fixture
def ragged() -> Ragged:
    return Ragged.from_rows(ROWS)


def test_rows_come_back(ragged):
    assert len(ragged) == 5
    assert lists(ragged) == ROWS
    assert ragged.lengths.tolist() == [3, 0, 2, 1, 4]


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_nothing_is_fine(rows):
    ragged = Ragged.from_rows(rows)
    assert lists(ragged) == rows
    assert lists(ragged.take(np.arange(len(rows)))) == rows


@pytest.mark.parametrize("wanted", [[], [1], [4, 0, 0, 1, 2], [3, 3, 3], [1, 1]])
@pytest.mark.parametrize("longest", [None, 0, 1, 3, 99])
def test_take_equals_a_loop(ragged, wanted, longest):
    assert lists(ragged.take(np.array(wanted, dtype=np.int64), longest)) == [ROWS[row][:longest] for row in wanted]


def test_each_row_can_have_its_own_length(ragged):
    assert lists(ragged.take(np.array([4, 0, 2, 4]), np.array([2, 9, 0, 3]))) == [[2, 6], [3, 1, 4], [], [2, 6, 5]]


def test_join_equals_a_loop(ragged):
    pieces = [[0, 1, 3], [], [4, 4], [1], [2, 0]]
    expected = [[item for piece in listed for item in ROWS[piece]] for listed in pieces]
    assert lists(ragged.join(Ragged.from_rows(pieces))) == expected


def test_stack_keeps_the_order(ragged):
    assert lists(Ragged.stack([ragged, Ragged.from_rows([[7], []]), ragged])) == [*ROWS, [7], [], *ROWS]


def test_random_rows_equal_a_loop():
    random = np.random.default_rng(0)
    rows = [random.integers(0, 99, random.integers(0, 6)).tolist() for _ in range(200)]
    wanted, longest = random.integers(0, 200, 500), random.integers(0, 6, 500)
    taken = Ragged.from_rows(rows).take(wanted, longest)
    assert lists(taken) == [rows[row][:limit] for row, limit in zip(wanted, longest)]
