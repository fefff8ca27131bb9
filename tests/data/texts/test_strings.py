import numpy as np
import pytest
from rapidfuzz import fuzz

from pmd.data.graphs.sources import load_graph
from pmd.data.texts.strings import Composed, Strings
from pmd.use.names import fold

TEXTS = ["", "a", "東京 — ß", "", "b\U0001f600", "Ada Lovelace"]


def test_strings_are_read_like_a_list():
    strings = Strings.of(TEXTS)
    assert strings == TEXTS and strings == TEXTS and strings != TEXTS[:-1] and strings != [*TEXTS[:-1], "b"]
    assert [strings[i] for i in range(-6, 6)] == TEXTS * 2 and strings[np.int64(2)] == TEXTS[2]
    for part in (slice(1, 4), slice(4, 99), slice(3, 3), slice(5, 2), slice(None, None, -2), slice(-2, None)):
        assert strings[part] == TEXTS[part]
    with pytest.raises(IndexError, match="text 6 of 6"):
        strings[6]
    assert strings.take(np.array([4, 2, 4])) == [TEXTS[4], TEXTS[2], TEXTS[4]]
    assert Strings.of(strings) is strings


def test_arrow_has_the_same_texts():
    strings = Strings.of(TEXTS)
    assert strings.arrow().to_pylist() == TEXTS
    assert Strings.of_arrow(strings.arrow()) == TEXTS and Strings.of_arrow(strings.arrow().slice(2, 3)) == TEXTS[2:5]


def test_composed_texts_are_made_when_they_are_read():
    made = []
    texts = Composed(lambda a, b: made.append(a) or f"{a}-{b}", Strings.of(["x", "y", "z"]), ["1", "2", "3"])
    assert len(texts) == 3 and not made
    assert texts[1] == "y-2" and texts[1:] == ["y-2", "z-3"] and made == ["y", "y", "z"]
    assert [*texts] == ["x-1", "y-2", "z-3"]


@pytest.mark.parametrize(
    "asked", ["physcal  entity", "Grace_Hoper", "zurch", "été", "a", "", "straße", "x y z", "ADA LOVELASE"]
)
def test_rows_that_may_be_alike_are_all_that_are(asked):
    world = load_graph("world")
    texts = [
        *world.entity_names,
        "",
        "  ",
        "Straße",
        "STRASSE",
        "physical entity",
        "grace  hopper",
        "ada__lovelace",
        "x",
        "zürich",
    ]
    texts += [text.upper() for text in texts[:200]]
    rows = Strings.of(texts).rows_like(fold(asked), 70)
    alike = [row for row, text in enumerate(texts) if fuzz.ratio(fold(asked), fold(text)) >= 70]
    assert {*alike} <= {*rows} and rows == sorted(rows)
    assert len(rows) < len(texts) / 2 or not asked
