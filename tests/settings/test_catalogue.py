"""The catalogue: every row names a class that is there, and names are taken once."""

from dataclasses import fields, is_dataclass

import pytest

from pmd.core.errors import PmdError
from pmd.core.types import Objective
from pmd.models.kge.interactions import Interaction
from pmd.settings import catalogue
from pmd.settings.catalogue import INTERACTIONS, METHODS, METRICS, lookup, register

ROWS = [
    *catalogue.FAMILIES.values(),
    *INTERACTIONS.values(),
    *(row for rows in (*METHODS.values(), *METRICS.values()) for row in rows.values()),
]


@pytest.mark.parametrize("name", INTERACTIONS)
def test_interactions_are_classes_of_their_title(name):
    kind = INTERACTIONS[name].load_class()
    assert issubclass(kind, Interaction) and kind.__name__ == INTERACTIONS[name].title and name == kind.__name__.lower()
    assert INTERACTIONS[name].product == (kind.default_norm is None)


@pytest.mark.parametrize("row", [row for rows in METHODS.values() for row in rows.values()], ids=lambda row: row.name)
def test_methods_are_objectives_of_their_family(row):
    assert issubclass(row.load_class(), Objective) and callable(row.load_class().for_stage)
    assert METHODS[row.family][row.name] is row and set(row.weights) <= {"alpha", "beta"}


def test_rows_hold_plain_values():
    for row in ROWS:
        assert is_dataclass(row)
        for value in (getattr(row, field.name) for field in fields(row)):
            assert isinstance(value, (str, bool, int, tuple, type(None)))


@pytest.mark.parametrize("row", [INTERACTIONS["rotate"], METHODS["bert"]["pkd"]])
def test_a_name_is_taken_once(row):
    with pytest.raises(PmdError, match=f"'{row.name}' is taken by {row.title}"):
        register(row)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(PmdError) as refused:
        lookup(METHODS["text"], "pmd_no_mgf", "distill.method")
    expected = (
        "distill.method: 'pmd_no_mgf' is not one of none, pmd, pmd_no_mgfd, lkd, pkd; did you mean 'pmd_no_mgfd'?"
        " If it is your own, first import the file that registers it (docs/extending.md)"
    )
    assert str(refused.value) == expected


def test_an_unknown_name_where_one_may_register_ones_own_says_so():
    own = "if it is your own, first import the file that registers it (docs/extending.md)"
    for rows, is_open in ((INTERACTIONS, True), (METHODS["embedding"], True), (METRICS["ranking"], False)):
        with pytest.raises(PmdError) as refused:
            lookup(rows, "qqq", "what")
        assert str(refused.value).endswith(f"; {own}" if is_open else ", mr")


@pytest.mark.parametrize("family", catalogue.FAMILIES.values(), ids=lambda family: family.name)
def test_families_have_the_functions_of_their_models(family):
    module = family.load_module()
    assert callable(module.load_model) and callable(module.save) and callable(module.crop)
    assert hasattr(module, "scorer") == family.ranks


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (catalogue.Metric("hits_at_5", "Hits@5"), "neither an Interaction nor a Method"),
        (catalogue.Interaction("DistMult2", "DistMult", "m:C", "f"), "call it 'distmult2'"),
        (catalogue.Method("m", "m", "txet", "m:C", "s"), "family: 'txet'.*did you mean 'text'"),
    ],
)
def test_rows_that_nothing_would_find_are_refused(row, message):
    before = {*catalogue.INTERACTIONS}
    with pytest.raises(PmdError, match=message):
        catalogue.register(row)
    assert {*catalogue.INTERACTIONS} == before
