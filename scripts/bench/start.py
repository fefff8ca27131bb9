"""What a command costs before it begins to work, and what a small run spends its time on. Run by hand, with one thread.

Seconds are those of the processor, user and system, of the whole process: other work on the machine hardly changes them. A
banner is waited for by reading what the command prints. The parts of a run exclude each other: what is saved while the models
are ranked counts as saved.

    OMP_NUM_THREADS=1 python scripts/bench/start.py --rounds 7
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import auto_cli

from pmd.cli.errors import run
from pmd.evaluation.tables import markdown

PMD = [sys.executable, "-m", "pmd"]
COMMANDS = {
    "Python alone": [sys.executable, "-c", ""],
    "`import pmd`": [sys.executable, "-c", "import pmd"],
    "`pmd --help`": [*PMD, "--help"],
    "`pmd progressive --help`": [*PMD, "progressive", "--help"],
    "refusing `--train.epcohs`": [*PMD, "progressive", "--train.epcohs", "3"],
    "refusing a folder that is not there": [*PMD, "progressive", "--data.path", "/no/such/folder"],
    "`import torch`": [sys.executable, "-c", "import torch"],
    "`import torch, transformers, accelerate`": [sys.executable, "-c", "import torch, transformers, accelerate"],
}
BANNERS = {"the banner of `pmd train`": "train", "the banner of `pmd progressive`": "progressive"}
PARTS = {
    "reading the graph": ["pmd.recipes.ranking:load_graph"],
    "vocabulary and a new encoder": ["pmd.recipes.text:start"],
    "tokenising": ["pmd.models.text.folder:GraphText"],
    "training": ["pmd.recipes.stages:fit"],
    "encoding and ranking": ["pmd.recipes.text:timed_scorer", "pmd.recipes.text:ranks_widths"],
    "saving": ["pmd.recipes.text:save", "pmd.recipes.text:write_ranks", "pmd.recipes.text:load_model"],
}
"""By part of a run, what it calls, where the run finds it."""


def seconds_of(command: list[str], folder: str, until: str | None = None) -> float:
    """Seconds of the processor of a command, or of its part until it prints a line that begins with a word."""
    environment = {**os.environ, "PMD_CACHE": folder, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, cwd=folder, **pipes) as process:
        for line in process.stdout:
            if until is not None and line.startswith(until):
                process.kill()
                break
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used.ru_utime + used.ru_stime


@contextmanager
def parts_timed(spent: dict[str, float]) -> Iterator[None]:
    """Add to `spent` the seconds of each part; those of a part inside another count for the inner one alone."""
    inner: list[float] = []

    def timed(call: Callable, part: str) -> Callable:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            inner.append(0.0)
            began = time.process_time()
            try:
                return call(*arguments, **options)
            finally:
                took, within = time.process_time() - began, inner.pop()
                spent[part] += took - within
                if inner:
                    inner[-1] += took

        return wrapper

    kept = []
    for part, names in PARTS.items():
        for module, name in (full.split(":") for full in names):
            place = importlib.import_module(module)
            kept.append((place, name, getattr(place, name)))
            setattr(place, name, timed(getattr(place, name), part))
    try:
        yield
    finally:
        for place, name, call in kept:
            setattr(place, name, call)


def parts_of_a_run(config: str, folder: str, changes: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each part of `pmd progressive` with a config: seconds, and the share of all."""
    began = time.process_time()
    importlib.import_module("pmd.recipes.text")
    spent = {"imports": time.process_time() - began, **dict.fromkeys(PARTS, 0.0)}
    os.environ["PMD_CACHE"] = folder
    import pmd

    with parts_timed(spent):
        pmd.progressive(config=config, runs=folder, structure=None, **changes)
    whole = time.process_time() - began
    spent["the rest"] = whole - sum(spent.values())
    return [(part, f"{took:.2f}", f"{took / whole:.1%}") for part, took in {**spent, "all": whole}.items()]


def main(rounds: int = 7, config: str = "pmd/world", changes: dict[str, Any] | None = None, parts: bool = True) -> None:
    """Measure.

    Args:
        rounds: how often each command is started; medians count.
        config: of the run whose parts are told apart.
        changes: settings of that run that differ, by dotted key.
        parts: tell them apart.
    """
    with tempfile.TemporaryDirectory() as folder:
        if parts:  # first, for only the first import of a process is one
            rows = parts_of_a_run(config, folder, changes or {})
            print(markdown(("part", "s", "share"), rows), end="\n\n", flush=True)
        calls = {name: (command, None) for name, command in COMMANDS.items()}
        calls |= {name: ([*PMD, command, "--data.path", "world"], "graph ") for name, command in BANNERS.items()}
        seconds = {
            name: [seconds_of(*call[:1], folder, call[1]) for _ in range(rounds)] for name, call in calls.items()
        }
        print(markdown(("what", "s"), [(name, f"{statistics.median(all_):.2f}") for name, all_ in seconds.items()]))


if __name__ == "__main__":
    run(lambda: auto_cli(main))
