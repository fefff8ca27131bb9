"""Two processes that train together, as `torchrun` starts them, kept for all tests that need them.

Started as a program, this file is one of the two: it calls the functions that are named on its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240


class TwoProcesses:
    """Two processes of one group. They start with the first call, and anew after one that failed."""

    def __init__(self, log: Path):
        self.log, self.started = log, []

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function, `MODULE:NAME`, in both processes at once; RuntimeError, with their output, if it fails."""
        if not self.started:
            self.start()
        answers: queue.Queue[str] = queue.Queue()
        for process in self.started:
            process.stdin.write(json.dumps([function, arguments], default=str) + "\n")
            process.stdin.flush()
            threading.Thread(
                target=lambda out: answers.put(out.readline()), args=(process.stdout,), daemon=True
            ).start()
        try:
            failed = any(answers.get(timeout=SECONDS) != "done\n" for _ in self.started)
        except queue.Empty:
            failed = True
        if failed:
            self.close()
            raise RuntimeError(f"{function} failed:\n{self.log.read_text()[-5000:]}")

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
        group |= {
            "LOCAL_WORLD_SIZE": "2",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        with self.log.open("a") as log:
            self.started = [
                subprocess.Popen(
                    [sys.executable, __file__],
                    # Sets and dictionaries in another order than here, and in each other.
                    env={**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank, "PYTHONHASHSEED": f"{int(rank) + 1}"},
                    stderr=log,
                    **pipes,
                )
                for rank in "01"
            ]

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        self.started = []


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory):
    """Two processes for all tests; those that use them run one after the other."""
    processes = TwoProcesses(tmp_path_factory.mktemp("two_processes") / "log.txt")
    yield processes
    processes.close()


def main() -> None:
    """Call what is asked for until there is nothing more; only the answers go to standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_module("pmd.recipes.glue")  # torch, transformers and accelerate, before the first freeze
    for line in sys.stdin:
        gc.freeze()  # accelerate collects after every training, which takes long for all those modules
        function, arguments = json.loads(line)
        try:
            resolve_name(function)(*arguments)
            answer = "done"
        except BaseException:
            traceback.print_exc()
            answer = "failed"
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main()
