from dataclasses import replace

import numpy as np
import pytest

from pmd.core.errors import PmdError
from pmd.data.texts import ragged as module
from pmd.data.texts.neighbours import NeighbourTexts
from pmd.data.texts.ragged import Ragged

BASE = [[1, 2], [], [3, 4, 5], [6]]
NAMES = [[10], [], [12, 13], [14, 15, 16]]
NEIGHBOURS = {0: [1, 2, 3], 2: [0], 3: [0, 2]}
TEXTS = NeighbourTexts(
    Ragged.from_rows(BASE),
    Ragged.from_rows(NAMES),
    np.array([4 * entity + other for entity, others in NEIGHBOURS.items() for other in others]),
    room=6,
)


def by_hand(entity: int, without: int | None = None) -> list[int]:
    names = [token for other in NEIGHBOURS.get(entity, []) if other != without for token in NAMES[other]]
    return (BASE[entity] + names)[: TEXTS.room]


ROWS = {entity: by_hand(entity) for entity in range(4)}
ROWS |= {4 + 4 * entity + other: by_hand(entity, other) for entity, others in NEIGHBOURS.items() for other in others}


@pytest.mark.parametrize("block", [1, 3, 8192])
@pytest.mark.parametrize("longest", [None, 0, 2, 99])
def test_every_row_is_the_text_and_the_names_but_one(block, longest, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    order = [*ROWS, 2, 0][::-1]
    taken = TEXTS.take(np.array(order), longest)
    assert [taken[i].tolist() for i in range(len(order))] == [ROWS[row][:longest] for row in order]
    assert len(TEXTS.take(np.array([], dtype=np.int64))) == 0
    assert [TEXTS[row].tolist() for row in ROWS] == [*ROWS.values()]
    assert TEXTS.lengths.tolist() == [len(ROWS[entity]) for entity in range(4)]


def test_a_row_leaves_out_who_is_named_there():
    entities, others = np.array([0, 0, 1, 2, 3, 3]), np.array([1, 0, 0, 3, 2, 1])
    # 0 is no neighbour of its own, 1 has none, 3 is none of 2, nor 1 of 3: their texts name nobody who is to be left out.
    assert TEXTS.without(entities, others).tolist() == [4 + 1, 0, 1, 2, 4 + 14, 3]


def test_rows_that_do_not_fit_into_64_bits_are_refused():
    TEXTS.check_keys(822)
    many = Ragged(np.empty(0), np.broadcast_to(np.int64(0), (100_000_001,)))
    with pytest.raises(
        PmdError, match=r"^100,000,000 entities with 822 relations .* set encoder.neighbours_below to 0"
    ):
        replace(TEXTS, base=many).check_keys(822)
