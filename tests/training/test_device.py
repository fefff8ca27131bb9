"""What the machine is asked before a run."""

import json
import warnings

import pytest
import torch

from pmd.core import cores
from pmd.core.errors import PmdError
from pmd.core.run import Run
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for, bf16_is_fast, computes_bf16, precision_of


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


def test_bf16_is_fast_where_it_is_computed_in(monkeypatch):
    for device, cuda, cpu, fast in (
        ("cuda", True, False, True),
        ("cuda", False, True, False),
        ("mps", True, True, False),
    ):
        monkeypatch.setattr("pmd.training.device.best_device", lambda device=device: torch.device(device))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, cuda=cuda: cuda)
        capabilities(monkeypatch, avx512_bf16=cpu)
        assert bf16_is_fast() == fast
    monkeypatch.setattr("pmd.training.device.best_device", lambda: torch.device("cpu"))
    for cpu in (True, False):
        capabilities(monkeypatch, avx512_bf16=cpu)
        assert bf16_is_fast() == cpu


def test_what_is_slow_on_this_cpu_is_warned_of(monkeypatch):
    capabilities(monkeypatch, amx_bf16=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelerator_for(TrainConfig(precision="bf16"))
    capabilities(monkeypatch, amx_bf16=False)
    with pytest.warns(UserWarning, match=r"train\.precision bf16.*fp32.*CPUs"):
        accelerator_for(TrainConfig(precision="bf16"))


def test_fp16_on_a_cpu_is_called_what_it_is(monkeypatch):
    with pytest.warns(UserWarning, match=r"train\.precision fp16.*this CPU.*fp32"):
        assert precision_of(accelerator_for(TrainConfig(precision="fp16"))) == "fp32"


def test_what_a_launcher_changes_and_no_run_notes_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    accelerator_for(TrainConfig())
    for name, value in (("GRADIENT_ACCUMULATION_STEPS", "4"), ("USE_FSDP", "true"), ("DYNAMO_BACKEND", "INDUCTOR")):
        with monkeypatch.context() as launched, pytest.raises(PmdError, match=f"^ACCELERATE_{name}={value} .*unset it"):
            launched.setenv(f"ACCELERATE_{name}", value)
            accelerator_for(TrainConfig())


@pytest.fixture
def free_cores(monkeypatch):
    """Three free cores of four, and nothing asked for by the environment."""
    monkeypatch.setattr(cores, "cores_at_start", lambda: cores.Cores(4, 3))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def noted(folder, **environment):
    (folder / "env.json").write_text(json.dumps(environment))
    return Run(folder)


def test_a_run_takes_the_free_cores_unless_it_is_told_otherwise(free_cores, tmp_path, monkeypatch):
    def threads(asked=0, run=None):
        accelerator_for(TrainConfig(threads=asked), run)
        return torch.get_num_threads()

    assert threads() == threads(run=Run(tmp_path)) == 3
    before = noted(tmp_path, threads=2, processes=1)
    assert threads(run=before) == 2 and threads(asked=1, run=before) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert threads() == 4 and threads(run=before) == 2 and threads(asked=1) == 1


@pytest.mark.parametrize(
    "text", ['{"threads": 2, "processes": 2}', '{"threads": null, "processes": 1}', "[]", "{", "{}"]
)
def test_threads_of_other_processes_or_of_a_broken_note_do_not_count(text, tmp_path):
    (tmp_path / "env.json").write_text(text)
    assert Run(tmp_path).threads_of(1) == 0
