"""Which files one touches to add a thing to the package: the catalogue's YAML, and here counted the Python files.

Counted is where the name of a row, or of the class behind it, is written in code; docstrings and comments do not count.
Tables of a paper (`papers`, `med_table`) name what that paper compares, and are no part of an extension; nor is the copy of
the usual metrics for Hugging Face `evaluate` (`kgc_ranks`).
"""

import ast
from functools import cache
from pathlib import Path

import pytest

import pmd
from pmd.cli.commands import COMMANDS
from pmd.settings.catalogue import INTERACTIONS, METHODS, METRICS

PACKAGE = Path(pmd.__file__).parent
NAMED_ELSEWHERE = {
    "rotate": "the interaction of a run that names none",
    "transh": "the soft constraints and the refusal of l1 are of this interaction alone",
    "supervised": "the method of a stage with neither teacher nor widths",
    "dualde": "the method of a stage with a teacher",
    "med": "the method of a stage with widths; its settings are `med`",
    "none": "no method, no teacher, no padding …",
    "pmd": "the method of a run that names none; the name of the package",
    "finetune": "the method of a stage that names none; its stage is the usual teacher",
    "hat": "a table explains its epochs beside those of med",
    "minilm": "a student's heads must divide its teacher's width",
    "f1": "the tables of a paper have it before the accuracy",
    "accuracy": "verdicts on triples have one",
    "mrr": "what validation goes by",
    "hits_at_1": "a card says how often the first answer is wrong",
    "hits_at_10": "tables by width show it",
}
"""Rows that more of the package knows by name, and why. A new row is none of them."""


@cache
def strings_and_names(file: Path) -> tuple[set[str], set[str]]:
    """The whole strings of a module, docstrings left out, and its identifiers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    strings = {node.value for node in constants if isinstance(node.value, str)}
    names = {getattr(node, key, None) for node in ast.walk(tree) for key in ("id", "attr", "name", "arg")}
    return strings, names


def files_with(string: str, name: str | None = None) -> set[str]:
    """The files that have this string, or the class or function of this name."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        strings, names = strings_and_names(file)
        place = file.relative_to(PACKAGE)
        counted = place.parts[0] != "papers" and place.name not in ("med_table.py", "kgc_ranks.py")
        if counted and (string in strings or name in names - {None}):
            found.add(place.as_posix())
    return found


def rows(table):
    return [pytest.param(row, id=row.name) for row in table.values() if row.name not in NAMED_ELSEWHERE]


@pytest.mark.parametrize("row", rows(INTERACTIONS))
def test_an_interaction_is_a_class(row):
    assert files_with(row.name, row.title) == {"models/kge/interactions.py"}


@pytest.mark.parametrize("row", [row for table in METHODS.values() for row in rows(table)])
def test_a_method_is_an_objective(row):
    """Where others build on its class, their files name the class too."""
    module, _, name = row.objective.partition(":")
    users = files_with(name, name)
    assert module.removeprefix("pmd.").replace(".", "/") + ".py" in users
    assert files_with(row.name) == set() and all(file.startswith("distill/") for file in users)


@pytest.mark.parametrize("row", rows(METRICS["ranking"]))
def test_a_ranking_metric_is_a_formula(row):
    assert files_with(row.name, row.name) | files_with(row.title) == {"evaluation/metrics.py"}


@pytest.mark.parametrize("row", rows(METRICS["glue"]))
def test_a_metric_of_glue_is_a_function(row):
    """The task that is measured by it is a row of the catalogue."""
    assert files_with(row.name) | files_with(row.title) == {"evaluation/glue.py"}


def test_a_data_set_is_one_function():
    """Beside it stands the run that names none."""
    assert files_with("world") == {"data/graphs/sources.py", "settings/shared.py"}


@pytest.mark.parametrize("command", ["crop", "export", "evaluate", "push"])
def test_a_command_is_an_entry_and_a_recipe(command):
    module, _, name = COMMANDS[command].function.partition(":")
    assert {file for file in files_with(command) if file.startswith("cli/")} == {"cli/commands.py"}
    assert files_with(COMMANDS[command].function) == {"cli/commands.py"}
    assert name in strings_and_names(PACKAGE / f"{module.removeprefix('pmd.').replace('.', '/')}.py")[1]
