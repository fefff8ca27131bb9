import numpy as np

from pmd.data.texts.strings import Strings
from pmd.serve.completion import Completion
from pmd.use.names import Names, fold, folded_order


def completion(texts):
    ids = [f"id{row:03}" for row in range(len(texts))]
    return Completion(Names("entity", Strings.of(ids), Strings.of(texts), folded_order(ids), folded_order(texts)))


def test_beginnings_come_first_then_words_then_the_rest():
    names = completion(["Newfoundland", "Old_New town", "renew", "new", "Anew", "New\nDelhi", "ÉTÉ"])
    assert names.rows("NEW", 10) == [3, 5, 0, 1, 4, 2]
    assert names.rows("NEW", 3) == [3, 5, 0]
    assert names.rows("new d", 5) == [5] and names.rows("été", 5) == [6]
    assert names.rows("id00", 2) == [0, 1] and names.rows("id006", 2) == [6]
    assert names.rows("", 5) == names.rows(" _ ", 5) == names.rows("none", 5) == []


def test_they_are_those_of_a_plain_loop():
    random = np.random.default_rng(0)
    texts = ["".join(random.choice([*"ab "], random.integers(1, 9))) for _ in range(200)]
    names = completion(texts)
    for typed in ("a", "ab", "a b", "bab", "bb"):
        found = names.rows(typed, 500)
        assert sorted(found) == [row for row, text in enumerate(texts) if typed in fold(text)]
        begins = [fold(texts[row]).startswith(typed) for row in found]
        assert begins == sorted(begins, reverse=True)
