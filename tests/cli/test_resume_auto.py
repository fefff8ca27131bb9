"""The same command again goes on with what it began: where the user says so, and where a launcher starts it again."""

import pytest
import yaml

from pmd.cli.commands import COMMANDS
from pmd.core.run import Run

OPTIONS = ["--model.dim=4", "--train.epochs=1", "--train.batch_size=16", "--train.threads=1", "--loss.negatives=2"]


@pytest.fixture
def train(folder, tmp_path, capsys):
    def call(*more):
        """Train, or go on; the names of all runs, and whether something was trained."""
        COMMANDS["train"]([*OPTIONS, f"--data.path={folder}", f"--runs={tmp_path}", *more])
        runs = sorted(path.parent for path in tmp_path.glob("*/config.yaml"))
        return runs, "nothing was trained" not in capsys.readouterr().err

    return call


def test_auto_goes_on_with_the_newest_run_of_the_same_settings(train):
    (first,), trained = train("--resume=auto")
    assert trained
    assert train("--resume=auto") == ([first], False)
    settings = (first / "config.yaml").read_text()
    (first / "results.json").unlink()  # as if it had been stopped
    assert train("--resume=auto") == ([first], True) and (first / "config.yaml").read_text() == settings
    for number, more in enumerate(("--seed=1", "--name=other", "--train.lr=0.1"), 2):
        runs, trained = train("--resume=auto", more)
        assert len(runs) == number and trained
        assert train("--resume=auto", more) == (runs, False)
    (first / "config.yaml").write_text("a: [b")
    assert len(train("--resume=auto")[0]) == 5


def test_a_restarted_launch_goes_on_with_its_own_run(train, monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    (first,), _ = train()
    assert Run(first).environment["launch"] == "SLURM job 17"
    runs, _ = train()  # the same job trains twice
    assert len(runs) == 2
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train() == (runs, False)
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert len(train()[0]) == 3
    assert yaml.safe_load((first / "config.yaml").read_text())["name"] is None
