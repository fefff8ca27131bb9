"""The notebooks run: at a small size in the gate, and in a kernel, where all that they show is compared with what is stored."""

from __future__ import annotations

import ast
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
BY_NAME = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def evaluated(source: str, names: dict) -> object:
    """Run a cell; the value of its last line, if that is an expression."""
    body = ast.parse(re.sub(r"^%.*$", "", source, flags=re.MULTILINE)).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@BY_NAME
def test_a_notebook_opens_with_what_it_shows(path):
    cells = code_of(path)
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert {"image/png", "text/plain"} <= kinds
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)


SMALLER = {r'"epochs": \d+': '"epochs": 2', r"suggest\(200, ": 'suggest(30, relations=["has official language"], '}
"""What takes time in them, and what takes less."""


@BY_NAME
@pytest.mark.filterwarnings("ignore:graph '")
def test_a_notebook_runs_at_a_small_size(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict = {}
    trained = False
    for cell in code_of(path):
        source = cell.source
        for long, short in SMALLER.items():
            source = re.sub(long, short, source)
        value = evaluated(source, names)
        trained |= "pmd.train(" in source or "pmd.progressive(" in source
        stored = [output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
        assert (value is not None) == bool(stored) or source.endswith(";")
        for text in stored:
            assert independent(repr(value), trained) == independent(text, trained)


def independent(text: str, trained: bool) -> str:
    """What does not depend on weights: all until a model is trained, then the first line but for its numbers, and of tuples nothing."""
    first_line = "" if text.startswith("(") else numbers_apart(text.splitlines()[0])[0]
    return first_line if trained else text


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("notebooks", ROOT / "scripts" / "pages" / "notebooks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers_apart(text: str) -> tuple[str, list[float]]:
    """A text with a 0 for every number, and the numbers."""
    number = r"-?\d+(?:\.\d+)?"
    return re.sub(r"[\s:-]+", " ", re.sub(number, "0", text)), list(map(float, re.findall(number, text)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@BY_NAME
def test_a_notebook_shows_what_is_stored(path, script):
    stored, again = code_of(path), read(path)
    script.run(again)
    cells = [cell for cell in again.cells if cell.cell_type == "code"]
    for cell, cell_stored in zip(cells, stored, strict=True):
        for output, output_stored in zip(cell.outputs, cell_stored.outputs, strict=True):
            assert output.get("data", {}).keys() == output_stored.get("data", {}).keys()
            texts = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in (output, output_stored)]
            if "object at 0x" in texts[0] or "runs/" in texts[0]:
                continue  # places in memory, and folders that hold a time
            (words, numbers), (words_stored, numbers_stored) = map(numbers_apart, texts)
            assert words == words_stored
            assert numbers == pytest.approx(numbers_stored, abs=0.03, rel=0.1)
