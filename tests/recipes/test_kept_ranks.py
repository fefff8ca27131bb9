"""The ranks by query that runs keep, and `pmd evaluate --keep_ranks` for runs that have none."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import pmd
from pmd.cli.commands import COMMANDS
from pmd.core.errors import PmdError
from pmd.evaluation.width_ranking import ranks_widths
from pmd.recipes.ranking import rank_file, read_ranks

from .test_kge import TINY

SPLITS = ["test", "valid"]


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """Two text models and a croppable embedding model on two splits."""
    out = tmp_path_factory.mktemp("kept")
    sizes = {"layers": 2, "hidden_size": 8, "heads": 1, "intermediate_size": 8, "vocab_size": 300, "max_length": 16}
    settings = {
        "encoder": sizes,
        "train": {"epochs": 1, "batch_size": 16, "threads": 1},
        "evaluation": {"split": SPLITS},
    }
    settings |= {"distill": {"depths": [1], "mask_rates": [0.1]}, "runs": str(out)}
    text = pmd.progressive(folder, name="text", **settings)
    train = ["--train.epochs=1", "--model.widths=[2,4]", "--model.dim=4", "--loss.negatives=4", f"--runs={out}"]
    COMMANDS["train"]([*TINY, f"--data.path={folder}", "--name=kge", f"--evaluation.split={SPLITS}", *train])
    (kge,) = out.glob("kge-*")
    return {"text": text.folder, "kge": kge}


def expected(folder, graph, split):
    scorer = pmd.load_scorer(folder, graph)
    return {width: ranks.realistic for width, ranks in ranks_widths(scorer, graph, split).items()}


@pytest.mark.parametrize(("kind", "stage", "widths"), [("text", "grade1", [8]), ("kge", "rotate", [2, 4])])
def test_runs_keep_the_ranks_of_all_splits_and_widths(run, folder, kind, stage, widths):
    model, graph = run[kind] / stage, pmd.load_graph(folder)
    assert {*load_file(rank_file(model))} == {f"{split}/{width}" for split in SPLITS for width in widths}
    for split in SPLITS:
        kept = read_ranks(model, split, widths)
        assert {width: ranks.tolist() for width, ranks in kept.items()} == {
            width: ranks.tolist() for width, ranks in expected(model, graph, split).items()
        }
        assert kept[widths[0]].shape == (2 * len(graph.split(split)),)
    assert read_ranks(model, "train", widths) is None


def test_ranks_of_older_runs_are_of_the_first_split(run, tmp_path):
    old = tmp_path / "run"
    shutil.copytree(run["kge"], old)
    file = rank_file(old / "rotate")
    kept = load_file(file)
    save_file({name.removeprefix("test/"): ranks for name, ranks in kept.items() if name.startswith("test/")}, file)
    read = read_ranks(old / "rotate", "test", [2])
    assert torch.equal(read[2].float(), kept["test/2"])
    assert read_ranks(old / "rotate", "valid", [2]) is None


@pytest.mark.parametrize(("kind", "stage"), [("text", "grade1"), ("kge", "rotate")])
def test_evaluate_keeps_the_ranks_that_a_run_lacks(run, tmp_path, kind, stage, capsys):
    old = tmp_path / "run"
    shutil.copytree(run[kind], old)
    before = load_file(rank_file(old / stage))
    shutil.rmtree(old / "ranks")
    COMMANDS["evaluate"]([str(old / stage), "--threads=1"])
    assert not (old / "ranks").exists()
    without = capsys.readouterr().out
    for split in SPLITS:  # one after the other: what is kept of the first stays
        COMMANDS["evaluate"]([str(old / stage), f"--evaluation.split={split}", "--keep_ranks=true", "--threads=1"])
    after = load_file(rank_file(old / stage))
    assert {name: ranks.tolist() for name, ranks in after.items()} == {n: r.tolist() for n, r in before.items()}
    cells = [line.split("|")[1:6] for line in capsys.readouterr().out.splitlines() if "test" in line]
    assert cells == [line.split("|")[1:6] for line in without.splitlines() if "test" in line]


def test_a_folder_outside_of_a_run_keeps_no_ranks(run, tmp_path):
    shutil.copytree(run["kge"] / "rotate", tmp_path / "alone")
    with pytest.raises(PmdError, match=r"--keep_ranks: .*alone' is in no run folder"):
        COMMANDS["evaluate"]([str(tmp_path / "alone"), "--keep_ranks=true", "--data.path=world"])
