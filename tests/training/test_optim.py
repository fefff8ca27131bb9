import math

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


def module_with_weight():
    """A layer, and a learned weight that may have a learning rate of its own."""
    module = nn.Linear(2, 2)
    module.w1 = nn.Parameter(torch.tensor(1.0))
    return module


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad"])
def test_a_parameter_steps_by_its_own_rate(name):
    """The first step of these optimisers is as long as the rate, whatever the gradient; the second is scheduled for all."""
    module = module_with_weight()
    optimizer = optimizer_for(name, module, 0.1, 0.0, {"w1": 0.001})
    schedule = schedule_for("linear", optimizer, warmup=0, steps=4)
    for rate in (1.0, 0.75):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [0.1 * rate] * (len(optimizer.param_groups) - 1) + [0.001 * rate]
        )
        before = {key: value.detach().clone() for key, value in module.named_parameters()}
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, 3.0)
        optimizer.step()
        schedule.step()
        steps = {key: (before[key] - value).detach() for key, value in module.named_parameters()}
        size = (
            rate / math.sqrt(2) if name == "adagrad" and rate < 1 else rate
        )  # its second gradient is divided by √(3² + 3²)
        torch.testing.assert_close(steps["weight"], torch.full((2, 2), 0.1 * size), rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(steps["w1"], torch.tensor(0.001 * size), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad"])
def test_without_rates_there_are_no_more_groups(name):
    module = module_with_weight()
    plain, rated = (optimizer_for(name, module, 0.1, 0.5 * (name == "adamw"), rates) for rates in (None, {"w1": 0.001}))
    assert len(plain.param_groups) == len(rated.param_groups) - 1
    assert [id(p) for group in plain.param_groups for p in group["params"]] == [id(p) for p in module.parameters()]
    assert rated.param_groups[-1]["params"] == [module.w1] and rated.param_groups[-1]["weight_decay"] == 0.0


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
