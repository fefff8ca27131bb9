import pytest
import torch
from torch import nn

from pmd.training.optim import optimizer_for, schedule_for


def test_only_matrices_decay():
    module = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = optimizer_for("adamw", module, 1e-3, 0.5).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay[id(module[0].weight)] == 0.5
    assert decay[id(module[0].bias)] == decay[id(module[1].weight)] == 0.0


def test_schedule_rises_then_falls_to_zero():
    optimizer = optimizer_for("adamw", nn.Linear(1, 1), 2.0, 0.0)
    schedule = schedule_for("linear", optimizer, warmup=3, steps=10)
    rates = []
    for _ in range(11):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    expected = [0.5, 1.0, 1.5, *(2.0 * (10 - step) / 7 for step in range(3, 10)), 0.0]
    assert rates == pytest.approx(expected)


def test_frozen_parameters_are_left_out():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert [len(group["params"]) for group in optimizer_for("adamw", module, 1e-3, 0.0).param_groups] == [1]
    assert torch.equal(optimizer_for("adamw", module, 1e-3, 0.0).param_groups[0]["params"][0], module.weight)
