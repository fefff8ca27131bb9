import pytest

from pmd.core.errors import PmdError
from pmd.data.texts.strings import Strings
from pmd.use.names import Names, find_all, fold, folded_order

from ..says import says

IDS = ["Q1", "Q2", "q3", "Q_4", "Q5", "Q6", "Ada", "Q8"]
TEXTS = ["Ada", "Grace Hopper", "GRACE hopper", "Zürich", "Ada", "naïve", "somebody", "日本"]
ABOUT = ["wrote the first program, long before there were machines to run it", "", "", "a town", "an island"] + [""] * 3


@pytest.fixture
def names():
    return Names(
        "entity", Strings.of(IDS), Strings.of(TEXTS), folded_order(IDS), folded_order(TEXTS), Strings.of(ABOUT)
    )


def test_strings_are_what_went_in():
    texts = ["", "a", "東京 — ß", "", "b\U0001f600"]
    found = Strings.of(texts)
    assert list(found) == texts and len(found) == 5 and found[2] == "東京 — ß"
    assert list(Strings.of([])) == []


@pytest.mark.parametrize(
    ("given", "row"),
    [
        ("Q1", 0),
        ("Ada", 6),  # an id goes before names
        ("Grace Hopper", 1),  # the exact name before the same in another case
        ("GRACE hopper", 2),
        ("zürich", 3),
        ("ZU\u0308RICH", 3),  # the umlaut as two characters
        ("q 4", 3),
        ("q2", 1),
        ("Q3", 2),
        ("  naïve ", 5),
        ("日本", 7),
    ],
)
def test_by_id_by_name_then_in_any_case(names, given, row):
    assert names.find(given, "head") == row


def error(names, given):
    with pytest.raises(PmdError) as caught:
        names.find(given, "head")
    return str(caught.value)


def test_several_of_one_name_are_said_with_their_ids(names):
    assert says(error(names, "grace HOPPER"), "head: …'grace HOPPER'…Q2, q3")
    many = [f"e{i}" for i in range(8)]
    same = Names("entity", Strings.of(many), Strings.of(["x"] * 8), folded_order(many), folded_order(["x"] * 8))
    assert says(error(same, "x"), "head: 8…'x'…e0 (x), e1 (x), e2 (x), e3 (x), e4 (x)…3")
    same = Names(
        "entity",
        Strings.of(IDS[:5]),
        Strings.of(TEXTS[:5]),
        folded_order(IDS[:5]),
        folded_order(TEXTS[:5]),
        Strings.of(ABOUT[:5]),
    )
    assert "Q1 (wrote the first program, long before the…), Q5 (an island)" in error(same, "Ada")


def test_close_spellings_are_proposed(names):
    assert says(error(names, "Zurch"), "'Zurch'…Zürich (Q_4)")
    assert says(error(names, "Gracehoper"), "Grace Hopper (Q2)…GRACE hopper (q3)")
    assert says(error(names, "xxxxxxxx"), "Ada (Q1), Grace Hopper (Q2)")
    many = [f"entity number {i}" for i in range(30)]
    large = Names("entity", Strings.of(many), Strings.of(many), folded_order(many), folded_order(many))
    assert says(error(large, "@@@@"), "head: …'@@@@'")
    assert says(error(large, "entity numbr 7"), "entity number 7…entity number 17…entity number 27")


def test_names_of_a_large_graph(shared_data):
    rows = [line.split("\t") for line in (shared_data / "wn18rr" / "entities.tsv").read_text("utf-8").splitlines()]
    ids, texts, about = zip(*rows)
    names = Names("entity", *map(Strings.of, (ids, texts)), folded_order(ids), folded_order(texts), Strings.of(about))
    assert len(names) == 40_943
    for row in range(0, len(ids), 997):
        assert names.find(ids[row], "head") == row
        same = [other for other, text in enumerate(texts) if text == texts[row]]
        if len(same) == 1:
            assert names.find(texts[row], "head") == row
            assert fold(texts[row].upper()) == fold(texts[row])
        else:
            assert says(error(names, texts[row]), f"{len(same)}…{ids[same[0]]} (")
    assert says(error(names, "physcal entity"), "head: …'physcal entity'…physical entity (")


def test_all_misspelt_names_are_said_at_once(names):
    assert find_all((names, "Q1", "head"), (names, "q2", "relation")) == [0, 1]
    with pytest.raises(PmdError) as error:
        find_all((names, "Grace Hoper", "head"), (names, "Q1", "relation"), (names, "Zürch", "tail"))
    first, last = "head: no entity 'Grace Hoper'; did you mean ", "tail: no entity 'Zürch'; did you mean Zürich (Q_4)?"
    assert says(str(error.value), f"{first}…; {last}")
