"""`--data.weight` from a file to the losses of both families."""

import json
import shutil

import pytest

from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError

from ..says import says

TRAIN = ["--model.dim=4", "--loss.negatives=4", "--train.epochs=1", "--train.batch_size=16", "--train.valid_every=0"]
PROGRESSIVE = [
    *("--encoder.layers=1", "--encoder.hidden_size=16", "--encoder.heads=2", "--encoder.intermediate_size=32"),
    *("--encoder.vocab_size=300", "--encoder.max_length=24", "--train.epochs=1", "--train.batch_size=16"),
    '--stages=[{"name": "teacher"}]',
]


@pytest.fixture
def weighted(folder, tmp_path):
    """A function that writes a copy of the graph with a fourth column, from a function of the row."""

    def write(name, value_of):
        copy = shutil.copytree(folder, tmp_path / name)
        for split in ("train", "valid", "test"):
            rows = (copy / f"{split}.tsv").read_text().splitlines()
            lines = [f"{row}\t{value_of(i)}\n" for i, row in enumerate(rows)]
            (copy / f"{split}.tsv").write_text("head\trelation\ttail\tbelief\n" + "".join(lines))
        return copy

    return write


def losses(command, settings, path, runs, *more):
    """The label loss of every step."""
    options = [f"--data.path={path}", f"--runs={runs}", "--train.log_every=1", "--train.threads=1", *more]
    COMMANDS[command]([*settings, f"--name={path.name}", *options])
    lines = [json.loads(line) for line in next(runs.glob(f"{path.name}-*/metrics.jsonl")).open()]
    return [line["ce" if command == "progressive" else "hard"] for line in lines]


@pytest.mark.parametrize(("command", "settings"), [("train", TRAIN), ("progressive", PROGRESSIVE)])
def test_a_column_of_confidences_weighs_the_losses(command, settings, folder, weighted, tmp_path):
    runs = tmp_path / "runs"
    plain = losses(command, settings, folder, runs)
    even = losses(command, settings, weighted("even", lambda i: 0.5), runs, "--data.weight=belief")
    uneven = losses(command, settings, weighted("uneven", lambda i: (i % 3) / 2), runs, "--data.weight=belief")
    assert even == pytest.approx(plain, rel=1e-5)
    assert all(abs(one - other) > 1e-4 for one, other in zip(plain, uneven))


def test_confidences_that_weigh_nothing_are_refused(weighted, tmp_path):
    for name, value, message in (
        ("nothing", 0, "data.weight: 'belief' gives no training triple a weight; choose another column"),
        ("large", "1e39", "column belief holds '1e39'…from 0 up"),
    ):
        copy = weighted(name, lambda i, value=value: value)
        with pytest.raises(PmdError) as caught:
            COMMANDS["train"]([*TRAIN, f"--data.path={copy}", f"--runs={tmp_path}", "--data.weight=belief"])
        assert says(str(caught.value), message)
