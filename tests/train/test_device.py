"""What the machine is asked before a run."""

import warnings

import pytest
import torch

from pmd.settings.text import TrainConfig
from pmd.train.device import accelerator_for, computes_bf16


@pytest.fixture(autouse=True)
def one_accelerator(monkeypatch):
    """Settings of one `Accelerator` are those of all of a process, and so are threads."""
    from accelerate.state import AcceleratorState, PartialState

    threads = torch.get_num_threads()
    for state in (AcceleratorState, PartialState):
        state._reset_state()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    for state in (AcceleratorState, PartialState):
        state._reset_state()
    torch.set_num_threads(threads)


def capabilities(monkeypatch, **found: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "a CPU", **found}, raising=False)


def test_a_cpu_computes_in_bf16_or_not_or_cannot_say(monkeypatch):
    capabilities(monkeypatch, avx512_f=True, amx_bf16=False)
    assert not computes_bf16()
    capabilities(monkeypatch, avx512_bf16=False, amx_bf16=True)
    assert computes_bf16()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not computes_bf16()


def test_what_is_slow_on_this_cpu_is_warned_of(monkeypatch):
    capabilities(monkeypatch, amx_bf16=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelerator_for(TrainConfig(precision="bf16"))
    capabilities(monkeypatch, amx_bf16=False)
    with pytest.warns(UserWarning, match=r"train\.precision bf16.*fp32.*CPUs"):
        accelerator_for(TrainConfig(precision="bf16"))
