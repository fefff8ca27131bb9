"""Parameters and inference time by width."""

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError

cost_command = COMMANDS["table"]["cost"]


def test_cost_by_width(folder, capsys):
    cost_command(
        [f"--data.path={folder}", "--interactions=[transe,rotate]", "--dims=[8,2]", "--repetitions=1", "--threads=1"]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == [
        "Dim",
        "transe # Params (K)",
        "transe Inf. time (s)",
        "rotate # Params (K)",
        "rotate Inf. time (s)",
    ]
    assert [row[0:2] + row[3:4] for row in rows[2:4]] == [["8", "0.400", "0.784"], ["2", "0.100", "0.196"]]
    assert rows[2][2].endswith("(1.00×)")


def test_several_splits_are_ranked(folder, monkeypatch, capsys):
    ranked = []
    monkeypatch.setattr(
        "pmd.papers.cost.ranks", lambda model, graph, split, **options: ranked.append((model.dim, split))
    )
    options = [f"--data.path={folder}", "--dims=[8,2]", "--interactions=[transe]", "--repetitions=1"]
    cost_command([*options, "--config=dualde/tables/wn18rr_cost", *options])
    assert ranked == 2 * [(dim, split) for dim in (8, 2) for split in ("train", "valid", "test")]
    with pytest.raises(PmdError, match="no split 'tests'"):
        cost_command([*options, "--split=[test,tests]"])
