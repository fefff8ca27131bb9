"""Parameters and inference time by width."""

from pmd.cli.commands import COMMANDS

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
