"""How many threads a run takes, says, notes and keeps; and what it says when the load changes."""

import json

import pytest
import torch

from pmd.cli.commands import COMMANDS
from pmd.core import cores
from pmd.core.cores import Cores
from pmd.recipes import banner, stages

OPTIONS = ["--model.dim=4", "--train.epochs=2", "--train.batch_size=32", "--train.log_every=1", "--loss.negatives=2"]


@pytest.fixture
def free(monkeypatch):
    """Sets how many of four cores are free at the start."""

    def cores_are_free(count):
        for module in (cores, stages, banner):
            monkeypatch.setattr(module, "cores_at_start", lambda: Cores(4, count))

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = torch.get_num_threads()
    yield cores_are_free
    torch.set_num_threads(threads)


def noted(run):
    environment = json.loads((run / "env.json").read_text())
    return environment["threads"], environment["free_cores"]


def test_a_run_takes_the_free_cores_and_goes_on_with_as_many_threads(folder, tmp_path, free, capsys):
    free(3)
    COMMANDS["train"]([*OPTIONS, f"--data.path={folder}", f"--runs={tmp_path}", "--name=a"])
    (run,) = tmp_path.iterdir()
    assert noted(run) == (3, 3) and "3 of 4 cores free: 3 threads\n" in capsys.readouterr().err
    first = (run / "metrics.jsonl").read_text()
    for part in ("results.json", "metrics.jsonl", "table.md"):
        (run / part).unlink()
    (stage,) = {json.loads(line)["stage"] for line in first.splitlines()}
    (run / stage).rename(tmp_path / "finished")
    free(4)
    COMMANDS["train"]([f"--resume={run}", f"--runs={tmp_path}"])
    assert noted(run) == (3, 4) and "process(es), 3 threads\n" in capsys.readouterr().err
    losses = [
        [json.loads(line).get("loss") for line in text.splitlines()]
        for text in (first, (run / "metrics.jsonl").read_text())
    ]
    assert losses[0] == losses[1]


def test_another_load_is_said_once(folder, tmp_path, free, capsys, monkeypatch):
    free(2)
    monkeypatch.setattr(cores, "BETWEEN", 0.0)
    monkeypatch.setattr(cores, "cores_between", lambda before, after: Cores(4, 1))
    COMMANDS["train"]([*OPTIONS, f"--data.path={folder}", f"--runs={tmp_path}"])
    assert capsys.readouterr().err.count("1 of 4 cores are free now; the run has 2 thread(s)") == 1
