"""A run finds its own graph from any folder, takes no other for it, and is told by --data.path where it has gone."""

import json
import shutil
from pathlib import Path

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.core.run import Run

QUICK = ["--model.dim=4", "--train.epochs=1", "--loss.negatives=2", "--train.threads=1", "--train.batch_size=32"]


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """A run in `here`, trained on `here/graph` by its relative path; `there` is another folder with another graph."""
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        shutil.copytree(folder, place / "graph")
    lines = (folder / "test.tsv").read_text().splitlines()
    (there / "graph" / "test.tsv").write_text(lines[0] + "\n")
    monkeypatch.chdir(here)
    COMMANDS["train"]([*QUICK, "--data.path=graph", "--runs=runs"])
    monkeypatch.chdir(there)
    return next((here / "runs").iterdir())


def queries(model, capsys, *options):
    """How many queries `pmd evaluate` ranks."""
    COMMANDS["evaluate"]([str(model), *options])
    row = capsys.readouterr().out.splitlines()[2]
    return int(row.split("|")[-3])


def test_a_run_finds_its_own_graph_from_another_folder(run, capsys):
    assert Run(run).data_place == run.parents[1] / "graph"
    assert queries(run / "rotate", capsys) == 8
    COMMANDS["answer"]([str(run), "--tail=Finland", "--relation=lies in"])
    graph = Run(run).data_checksum
    assert json.loads((run / "rotate" / "index" / "index.json").read_text())["graph"] == graph
    (run / "results.json").unlink()
    shutil.rmtree(run / "rotate")
    COMMANDS["train"](["--resume", str(run)])
    assert Run(run).loadable == ["rotate"]


def test_another_graph_of_the_same_name_is_refused_and_a_named_one_taken(run, capsys, tmp_path):
    COMMANDS["answer"]([str(run), "--tail=Finland", "--relation=lies in"])
    moved = shutil.move(run.parents[1] / "graph", tmp_path / "moved")
    other = rf"'{run}' was trained on '{run.parents[1]}/graph', and 'graph' here is another graph.*--data\.path"
    for command in ("evaluate", "answer"):
        asked = ["--tail=Finland", "--relation=lies in"] if command == "answer" else []
        with pytest.raises(PmdError, match=other):
            COMMANDS[command]([str(run / "rotate"), *asked])
        COMMANDS[command]([str(run / "rotate"), *asked, f"--data.path={moved}"])
    with pytest.raises(PmdError, match=r"other data than data\.path.*--data\.path"):
        COMMANDS["train"](["--resume", str(run)])
    capsys.readouterr()
    assert queries(run / "rotate", capsys, "--data.path=graph") == 2  # who names it means it


def test_a_graph_that_is_gone_is_asked_for(run, monkeypatch, tmp_path):
    moved = shutil.move(run.parents[1] / "graph", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    commands = {"train": ["--resume", run], "evaluate": [run / "rotate"]}
    commands["push"] = [run, "me/it", "--dry-run", f"--out={tmp_path}/pushed"]
    for command, arguments in commands.items():
        arguments = [*map(str, arguments)]
        with pytest.raises(PmdError, match=rf"'{run}' was trained on '{run.parents[1]}/graph'.*--data\.path FOLDER"):
            COMMANDS[command](arguments)
        COMMANDS[command]([*arguments, f"--data.path={moved}"])
    assert (tmp_path / "pushed" / "index").is_dir()
    COMMANDS["report"]([str(run), f"--data.path={moved}", "--latency_rounds=0", f"--out={tmp_path}/page.html"])
    assert "cannot be read" not in Path(tmp_path, "page.md").read_text()
