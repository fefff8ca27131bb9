"""Several processes by one command: what is started, and the status of what ends it."""

import signal

import pytest
import torch.distributed.run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from pmd.cli.main import dispatch
from pmd.core.errors import PmdError


@pytest.fixture
def started(monkeypatch):
    """What torchrun is asked for; `error` is what it raises."""

    def main(arguments):
        calls.append(arguments)
        if errors:
            raise errors[0]

    calls, errors = [], []
    monkeypatch.setattr(torch.distributed.run, "main", main)
    monkeypatch.setattr("logging.disable", lambda level: None)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "")
    return calls, errors


def test_what_follows_the_command_is_its_own(started):
    dispatch(["launch", "--max-restarts=3", "2", "train", "--data.path", "a b", "--max_restarts", "4", "train"])
    at = started[0][0].index("-m")
    own, module, rest = started[0][0][:at], started[0][0][at : at + 3], started[0][0][at + 3 :]
    assert own[:3] == ["--standalone", "--nproc-per-node=2", "--max-restarts=3"] and module == ["-m", "pmd", "train"]
    assert all(option.startswith("--signals-to-handle=") and "SIGUSR1" in option for option in own[3:])
    assert rest == ["--data.path", "a b", "--max_restarts", "4", "train"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SignalException("got signal", signal.SIGINT), 130),
        (SignalException("got signal", signal.SIGTERM), 143),
        (2, 2),
        (-9, 137),
    ],
)
def test_what_ends_the_processes_ends_the_command(error, status, started):
    if isinstance(error, int):
        error = ChildFailedError("pmd", {0: ProcessFailure(0, 1, error, "")})
    started[1].append(error)
    with pytest.raises(SystemExit) as stopped:
        dispatch(["launch", "2", "glue"])
    assert stopped.value.code == status


@pytest.mark.parametrize(
    ("words", "message"),
    [(["2", "answer"], "'answer' runs in one process"), (["0", "train"], "processes: 0 is no number")],
)
def test_what_cannot_be_started(words, message, started):
    with pytest.raises(PmdError, match=message):
        dispatch(["launch", *words])
    assert started[0] == []
