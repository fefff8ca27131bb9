"""Processes of a launcher meet within a stated time, and those of an attempt read nothing of an earlier one."""

import os
import socket
import threading

import pytest
from torch.distributed import TCPStore

from pmd.core.errors import PmdError
from pmd.core.launch import is_restarted, launch
from pmd.training.meeting import _store_of_attempt, group_options, meeting


@pytest.fixture
def started(monkeypatch):
    """As a process that torchrun has started, beside another one."""
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    variables = {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29411}
    variables |= {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": 0, "PMD_MEET_SECONDS": 60}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return lambda name, value: monkeypatch.setenv(name, str(value))


def test_attempts_share_no_keys(started):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        started("MASTER_PORT", port := free.getsockname()[1])
    server = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    started("TORCHELASTIC_USE_AGENT_STORE", "True")
    (options,) = group_options()
    for attempt in (0, 1):
        started("TORCHELASTIC_RESTART_COUNT", attempt)
        store, rank, processes = next(_store_of_attempt(f"{options.init_method}?rank=1&world_size=2"))
        assert (rank, processes) == (1, 2) and not store.check(["address"])
        store.set("address", f"of {attempt}")
    assert server.get("attempt 0/address") == b"of 0" and server.get("attempt 1/address") == b"of 1"


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_WORLD_SIZE"])
def test_one_process_and_several_machines_meet_as_pytorch_has_it(name, started):
    started(name, 1)
    assert group_options() == []


def test_who_does_not_meet_says_so(started, monkeypatch, capsys):
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    started("PMD_MEET_SECONDS", 0.01)
    with meeting():
        assert ended.wait(60)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: process 1 of 2, on ") and "at 127.0.0.1:29411 within 0.01 s" in line


def test_what_fails_in_meeting_is_one_line(started):
    with (
        pytest.raises(
            PmdError, match=r"^process 1 of 2, on .*29411 \(Gloo connectFullMesh failed\); start all"
        ) as caught,
        meeting(),
    ):
        raise RuntimeError("Gloo connectFullMesh failed\nmore")
    assert len(str(caught.value).splitlines()) == 1
    started("PMD_MEET_SECONDS", "soon")
    with pytest.raises(PmdError, match="PMD_MEET_SECONDS: 'soon'"), meeting():
        pass


def test_a_launcher_is_known_again(started):
    first = launch()
    assert not is_restarted()
    started("TORCHELASTIC_RESTART_COUNT", 1)
    assert is_restarted() and launch() == first != ""
    started("MASTER_PORT", 29412)
    assert launch() != first
    started("SLURM_JOB_ID", 7)
    assert launch() == "SLURM job 7"
