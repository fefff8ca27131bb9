"""The main job has the numbers that README prints: some minutes, so not in the gate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pmd.cli.main import dispatch

from ..contracts.test_shell_lines import arguments
from ..markdown import tables_of
from .test_shell import ROOT, printed_blocks

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def main_job(tmp_path_factory) -> Path:
    """The run folder of the command that README begins with."""
    runs = tmp_path_factory.mktemp("main")
    command = [sys.executable, "-m", "accelerate.commands.launch", "scripts/progressive.py", f"--runs={runs}"]
    threads = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    subprocess.run(command, cwd=ROOT, env=threads, check=True)
    return next(runs.glob("world-*"))


def assert_near(rows: list[list[str]], shown: list[list[str]]) -> None:
    """The same words and whole numbers; fractions and shares within what another processor changes."""
    assert len(rows) == len(shown)
    for row, row_shown in zip(rows, shown):
        for cell, cell_shown in zip(row, row_shown, strict=True):
            if cell.endswith("%"):
                assert float(cell[:-1]) == pytest.approx(float(cell_shown[:-1]), abs=10)
            elif "." in cell:
                assert float(cell) == pytest.approx(float(cell_shown), abs=0.02, rel=0.1)
            else:
                assert cell == cell_shown


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_its_table_is_that_of_the_readme(main_job):
    shown = next(
        table for table in tables_of(README.read_text(encoding="utf-8")) if table[0][:2] == ["model", "layers"]
    )
    made = next(table for table in tables_of((main_job / "table.md").read_text(encoding="utf-8")))
    assert_near(made, shown)


@pytest.mark.slow
def test_its_answers_are_those_of_the_readme(main_job, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "world-…").symlink_to(main_job)
    monkeypatch.chdir(tmp_path)
    for line, shown in printed_blocks(README):
        dispatch(arguments(line))
        for made, table in zip(tables_of(capsys.readouterr().out), tables_of(shown), strict=True):
            assert_near(made, table)
