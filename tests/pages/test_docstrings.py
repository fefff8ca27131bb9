"""What is public says what it takes, gives back and refuses, with an example that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from docstring_parser import parse

import pmd

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))
from returned import members, parts_of, returned_types

SLOW = ("export", "fit", "fuse", "glue", "progressive", "push", "report", "shrink", "train", "tune", "update")
"""Those whose example trains or ranks."""
EXAMPLES = doctest.DocTestParser()


CLASSES = {name: getattr(pmd, name) for name in pmd.__all__ if inspect.isclass(getattr(pmd, name))} | returned_types()
METHODS = [(f"{name}.{member}", held) for name, kind in CLASSES.items() for member, held in members(kind)]


def parameters_of(thing: Any) -> dict[str, inspect.Parameter]:
    if isinstance(thing, type) and issubclass(thing, Exception):
        return {}
    return {
        name: parameter
        for name, parameter in inspect.signature(thing).parameters.items()
        if name not in ("self", "cls")
    }


@pytest.mark.parametrize("name", pmd.__all__)
def test_a_function_or_class_has_a_line_for_each_argument_and_an_example(name):
    thing = getattr(pmd, name)
    doc = parse(inspect.getdoc(thing))
    lines = {word.strip(): line.description for line in doc.params for word in line.arg_name.split(",")}
    assert doc.short_description.endswith((".", ":"))
    assert lines.keys() == parameters_of(thing).keys() and all(lines.values())
    assert EXAMPLES.get_examples(inspect.getdoc(thing))
    if inspect.isfunction(thing):
        assert doc.returns.description and [error.type_name for error in doc.raises] == ["PmdError"]


def test_the_types_that_functions_return_are_found():
    assert {"Answers", "Candidate", "FitResult", "Ranks", "ShrunkRun", "TrainedKge", "TrainedModel"} < {
        *returned_types()
    }
    assert {"StageResult", "Suggestions", "TripleScorer", "TuneResult", "Verdict", "Why"} < {*returned_types()}


@pytest.mark.parametrize("name", returned_types())
def test_what_a_function_returns_has_a_line_for_each_attribute(name):
    kind = returned_types()[name]
    docs = [parse(inspect.getdoc(part)) for part in parts_of(kind)]
    lines = {word.strip(): line.description for doc in docs for line in doc.params for word in line.arg_name.split(",")}
    annotated = {attribute for part in parts_of(kind) for attribute in inspect.get_annotations(part)}
    assert docs[0].short_description and all(lines.values())
    assert lines.keys() == annotated - {member for member, _ in members(kind)}


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[name for name, _ in METHODS])
def test_a_method_names_its_arguments_the_shapes_of_arrays_and_what_it_refuses(name, method):
    text = inspect.getdoc(method) or ""
    assert text, "no docstring"
    for parameter in parameters_of(method):
        assert re.search(rf"\b{parameter}\b", text, re.IGNORECASE), f"'{parameter}' is not named"
    if re.search(r"\b(Tensor|np\.ndarray)\b", str(inspect.signature(method))):
        assert re.search(r"\([\w… +·/]+,( [\w …·+]+,?)*\)|a scalar|fp32", text), "no shape of an array"
    refuses = any(
        isinstance(node, ast.Raise) and "PmdError" in ast.unparse(node)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(method))))
    )
    assert "PmdError" in text or not refuses


@pytest.mark.filterwarnings("ignore:graph '")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in pmd.__all__])
def test_the_example_prints_what_it_shows(name, desk):
    names = {"pmd": pmd, "torch": torch}
    doc = inspect.getdoc(getattr(pmd, name))
    if " = pmd.load_graph(" not in doc:
        names["graph"] = pmd.load_graph("world")
    test = EXAMPLES.get_doctest(doc, names, name, None, None)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    printed: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=printed.append)
    assert not printed, "".join(printed)
