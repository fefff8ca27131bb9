"""Two processes fine-tune, distil and measure as one does with the whole batch."""

import json

from safetensors.torch import load_file

from pmd.cli.main import dispatch

from ..tiny_glue import WIDTHS, write_bert, write_task

STAGES = [
    {"name": "finetune"},
    {
        "name": "med",
        "method": "med",
        "med": {"recipe": "joint", "mutual": 1.0, "soft": 1.0, "dynamic": True, "learned": True},
    },
    {"name": "paper", "method": "med", "med": {"recipe": "med"}},
    {"name": "hat", "method": "hat"},
    {"name": "bkd", "method": "bkd", "width": 16},
    {"name": "pkd", "method": "pkd", "width": 16},
    {"name": "shallow", "method": "pkd", "width": 16, "layers": 1},
    {"name": "minilm", "method": "minilm", "width": 16},
    {"name": "rkd", "method": "rkd", "width": 16},
]


def test_two_processes_equal_one(two_processes, tmp_path):
    write_bert(tmp_path / "bert", classifier_dropout=0.0)
    write_task(tmp_path / "MRPC", "mrpc", train=16)
    options = {"task": "mrpc", "data.path": tmp_path, "data.cache": tmp_path / "cache", "model.name": tmp_path / "bert"}
    options |= {"model.widths": WIDTHS, "model.max_length": 24, "train.batch_size": 8, "train.epochs": 2}
    options |= {"stages": json.dumps(STAGES), "evaluation.speed_rounds": 0, "train.threads": 1, "train.lr": 0.001}
    options |= {"med": json.dumps({"recipe": "joint"}), "train.valid_every": 0}  # the last epoch is kept in both
    command = ["glue", *(f"--{name}={value}" for name, value in options.items()), "--name=run"]
    dispatch([*command, f"--runs={tmp_path}/one"])
    two_processes.call("pmd.cli.main:dispatch", [*command, f"--runs={tmp_path}/two"])
    (one,), (two,) = ([*(tmp_path / name).glob("run-*")] for name in ("one", "two"))
    results = [json.loads((run / "results.json").read_text()) for run in (one, two)]
    assert results[1].keys() == {stage["name"] for stage in STAGES}
    for stage in STAGES:
        left, right = (load_file(run / stage["name"] / "model.safetensors") for run in (one, two))
        # The gradient of the keys' bias is zero but for rounding, which Adam makes as large as any; so is now and then
        # that of one number of a few others: two in a matrix may differ by as much as two steps of the rate.
        for name, value in ((name, value) for name, value in left.items() if not name.endswith("key.bias")):
            apart = (right[name] - value).abs()
            assert apart.max() < 2e-3 and (apart > 1e-4).sum() <= 2, f"{stage['name']}: {name}"
        files = [sorted((run / stage["name"] / "predictions").rglob("*.tsv")) for run in (one, two)]
        assert files[0] and [file.read_text() for file in files[0]] == [file.read_text() for file in files[1]]
        metrics = [[of["metrics"] for of in found[stage["name"]]["widths"].values()] for found in results]
        assert metrics[0] == metrics[1]
