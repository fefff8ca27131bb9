import json
import os
import shutil
import signal

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from pmd.core.errors import PmdError
from pmd.core.types import Objective
from pmd.settings.shared import LoopConfig
from pmd.training.loop import fit
from pmd.training.stopping import Interrupted


class Batch:
    def __init__(self, values):
        self.values = values

    def to(self, device):
        return Batch(self.values.to(device))


class Regression(Objective):
    """Noisy on purpose: dropout and a counting buffer must come back exactly after an interruption."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.register_buffer("seen", torch.zeros(()))
        self.weights = {"error": 1.0, "size": 0.1}

    def forward(self, batch):
        self.seen += 1
        output = self.net(batch.values)
        return {
            "error": (output - batch.values.sum(-1, keepdim=True)).square().mean(),
            "size": output.square().mean(),
            "unweighted": output.mean(),
        }


DATA = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))


def settings(**changes):
    values = {"epochs": 4, "batch_size": 8, "lr": 1e-2, "weight_decay": 0.1, "warmup": 4, "grad_clip": 1.0}
    return LoopConfig(**{**values, "log_every": 1, **changes})


def train(folder, *, collate=None, objective=None, **options):
    objective = objective or Regression()
    torch.manual_seed(7)
    progress = fit(
        objective,
        len(DATA),
        collate or (lambda positions: Batch(DATA[positions])),
        options.pop("settings", settings()),
        Accelerator(cpu=True),
        folder / "checkpoint",
        seed=0,
        **options,
    )
    return objective, progress


def test_resumed_equals_uninterrupted(tmp_path):
    lines = []
    whole, _ = train(tmp_path / "whole", log=lambda **values: lines.append(values))
    calls = []

    def interrupting(positions):
        calls.append(positions)
        if len(calls) == 13:  # in the middle of the third epoch
            os.kill(os.getpid(), signal.SIGINT)
        return Batch(DATA[positions])

    with pytest.raises(Interrupted):
        train(tmp_path / "cut", collate=interrupting)
    torch.manual_seed(99)  # the state on disk decides, not what the new process drew
    resumed_lines = []
    resumed, progress = train(tmp_path / "cut", log=lambda **values: resumed_lines.append(values))
    assert progress.step == 20
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    wanted = [{k: v for k, v in line.items() if k != "seconds"} for line in lines[-len(resumed_lines) :]]
    assert [{k: v for k, v in line.items() if k != "seconds"} for line in resumed_lines] == wanted
    assert resumed_lines[0]["step"] == 14


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a training that was stopped after its first validation."""
    folder = tmp_path_factory.mktemp("stopped")

    def interrupting(positions):
        if (folder / "checkpoint" / "best.safetensors").exists():
            os.kill(os.getpid(), signal.SIGINT)
        return Batch(DATA[positions])

    with pytest.raises(Interrupted):
        train(folder, collate=interrupting, validate=lambda: {"valid": 1.0}, settings=settings(valid_every=1))
    return folder


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(
    "file",
    [
        *("state/random_states_0.pkl", "state/model.safetensors", "state/optimizer.bin"),
        *("state/training.json", "best.safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(file, cut, stopped, tmp_path):
    checkpoint = shutil.copytree(stopped / "checkpoint", tmp_path / "checkpoint")
    if cut:
        (checkpoint / file).write_bytes((checkpoint / file).read_bytes()[:-20])
    else:
        (checkpoint / file).unlink()
    with pytest.raises(PmdError, match=r"checkpoint' is damaged \(.+\).*train first anew") as caught:
        train(tmp_path, label="first", settings=settings(valid_every=1))
    assert "\n" not in str(caught.value)


def test_loss_is_the_weighted_sum_and_every_term_is_logged(tmp_path):
    lines = []
    train(tmp_path, log=lambda **values: lines.append(values))
    first = lines[0]
    assert first["loss"] == pytest.approx(first["error"] + 0.1 * first["size"])
    assert {"unweighted", "lr", "epoch", "step"} <= first.keys() and len(lines) == 20


def test_first_step_is_that_of_plain_adamw(tmp_path):
    trained, _ = train(tmp_path, settings=settings(epochs=1, batch_size=40, warmup=0))
    plain = Regression()
    torch.manual_seed(7)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in plain.parameters() if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in plain.parameters() if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    plain.train()
    plain.total(plain(Batch(DATA[order]))).backward()
    nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    optimizer.step()
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, trained.state_dict()[name], atol=1e-6), name


def test_the_best_state_by_validation_is_kept(tmp_path):
    objective, values = Regression(), iter([0.1, 0.9, 0.5, 0.4])
    states = []

    def validate():
        states.append({name: value.clone() for name, value in objective.state_dict().items()})
        return {"valid": next(values)}

    _, progress = train(tmp_path, objective=objective, validate=validate, settings=settings(valid_every=1))
    assert (progress.best, progress.best_epoch) == (0.9, 2)
    assert all(torch.equal(value, states[1][name]) for name, value in objective.state_dict().items())
    assert not torch.equal(states[1]["net.0.weight"], states[3]["net.0.weight"])


def test_an_epoch_may_end_before_all_examples_were_read(tmp_path):
    calls, validated = [], []

    def collate(positions):
        calls.append(positions)
        return Batch(DATA[positions])

    def validate():
        validated.append(len(calls))
        return {"valid": 0.0}

    short = settings(epochs=3, epoch_steps=2, valid_every=1)
    _, progress = train(tmp_path / "short", collate=collate, settings=short, validate=validate)
    assert progress.step == 6 and validated == [2, 4, 6]
    assert [len(set(epoch[0] + epoch[1])) for epoch in (calls[:2], calls[2:4], calls[4:])] == [16, 16, 16]
    assert sorted(calls[0] + calls[1]) != sorted(calls[2] + calls[3])
    whole, _ = train(tmp_path / "whole")
    long, _ = train(tmp_path / "long", settings=settings(epoch_steps=99))
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), long.parameters()))


def test_patience_stops(tmp_path):
    values = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    _, progress = train(
        tmp_path, validate=lambda: {"valid": next(values)}, settings=settings(epochs=5, valid_every=1, patience=2)
    )
    assert progress.epoch == 3


def test_fewer_examples_than_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", len(DATA) + 1)
    with pytest.raises(PmdError, match=r"batches of \d+ training examples are too small for 41 processes; start fewer"):
        train(tmp_path)


@pytest.mark.parametrize(("log_every", "saves"), [(1, 60), (100, 60), (100, 0)])
def test_a_loss_that_is_not_finite_names_its_step_and_examples(log_every, saves, tmp_path):
    seen = []

    def collate(positions):
        seen.append(positions)
        return Batch(DATA[positions] * (float("nan") if len(seen) == 3 else 1))

    with pytest.raises(PmdError) as caught:
        train(
            tmp_path,
            collate=collate,
            label="teacher",
            settings=settings(log_every=log_every, save_minutes=saves),
            describe=lambda positions: [f"example {position}" for position in positions],
        )
    file = tmp_path / "checkpoint" / "not_finite.txt"
    named = [f"example {position}" for position in seen[2]]
    assert str(caught.value) == (
        f"teacher: loss term 'error' became nan at step 3, on {', '.join(named[:3])} and 5 more (all in {file}); lower train.lr"
    )
    assert file.read_text().splitlines() == named
    state = tmp_path / "checkpoint" / "state" / "training.json"
    assert saves or json.loads(state.read_text())["progress"]["step"] == 2  # nothing of the third step is saved


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def impatient(positions):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return Batch(DATA[positions])

    with pytest.raises(KeyboardInterrupt) as caught:
        train(tmp_path, collate=impatient)
    assert not isinstance(caught.value, Interrupted)
