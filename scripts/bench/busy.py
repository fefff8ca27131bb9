"""The same work on an idle machine and beside one busy process. By hand, on a machine that does nothing else.

    python scripts/bench/busy.py

The jobs are whole processes, taken in turn: each idle and busy, in every round. The main job is shown as it is by default,
and with one thread for each core that spin while they wait, which is what OpenMP does by itself. What was measured while
still other work took a share of the cores (`--tolerance`) is measured again.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from jsonargparse import auto_cli

from pmd.cli.errors import run
from pmd.core.cores import cores_at_start, read
from pmd.evaluation.tables import markdown

PMD = [sys.executable, "-c", "from pmd.cli.main import main; main()"]
CHOSEN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OPENBLAS_NUM_THREADS")
SPINS = {"GOMP_SPINCOUNT": "300000"}
"""What GNU's OpenMP takes by default. It is set so that nothing else is chosen."""


BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextmanager
def busy_process():
    """One core is taken."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            time.sleep(1)
            yield
        finally:
            process.kill()


def seconds_of(command: Sequence[str], variables: Mapping[str, str]) -> tuple[float, float]:
    """Seconds by the clock of a process, and the cores that were taken meanwhile by what this program has not started.

    What the shell says of threads is not handed on.
    """
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    before = read()
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    after = read()
    seconds, used = after.time - before.time, after.limits[0][1] - before.limits[0][1]
    return seconds, max(0.0, used - after.own + before.own) / seconds


def undisturbed(command: Sequence[str], variables: Mapping[str, str], tolerance: float, *, busy: bool) -> float:
    """Seconds by the clock of a process while no other work takes more cores than the tolerance, but a busy process."""
    while True:
        while seconds_of(["sleep", "5"], {})[1] > tolerance:
            pass
        with busy_process() if busy else nullcontext():
            seconds, others = seconds_of(command, variables)
        if others <= tolerance:
            return seconds
        print(f"other work took {others:.2f} cores; again", file=sys.stderr, flush=True)


def main(rounds: int = 3, epochs: int = 3, tests: str = "tests/losses", tolerance: float = 0.1):
    """Time jobs idle and beside a busy process.

    Args:
        rounds: times that each job is run idle, and busy.
        epochs: of every stage of the main job.
        tests: what pytest runs.
        tolerance: cores that other work may take meanwhile.
    """
    usable, work = cores_at_start().usable, Path(tempfile.mkdtemp(prefix="pmd-busy-"))
    job = [*PMD, "progressive", f"--runs={work}", f"--train.epochs={epochs}", f"--distill.epochs={epochs}"]
    embedding = [*PMD, "train", f"--runs={work}", "--train.epochs=1", "--data.path=world"]
    seconds_of([*job, "--name=asked", "--train.epochs=1", "--distill.epochs=1"], {})
    seconds_of([*embedding, "--name=embedding"], {})
    question = ["--head=Austria", "--relation=official language"]
    text, table = (next(work.glob(f"{name}-*")) for name in ("asked", "embedding"))
    jobs = {
        "main job": ([*job, "--name=default"], {}),
        f"{usable} threads that spin": ([*job, "--name=spinning", f"--train.threads={usable}"], SPINS),
        f"{usable} threads that sleep": (
            [*job, "--name=sleeping", f"--train.threads={usable}"],
            {"OMP_WAIT_POLICY": "PASSIVE"},
        ),
        "one thread": ([*job, "--name=one", "--train.threads=1"], {}),
        "pmd answer, text model": ([*PMD, "answer", str(text), *question], {}),
        "pmd answer, embedding model": ([*PMD, "answer", str(table), *question], {}),
        f"pytest {tests}": ([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests], {}),
    }
    for name in ("pmd answer, text model", "pmd answer, embedding model"):
        seconds_of(*jobs[name])  # builds the index
    idle, busy = ({name: [] for name in jobs} for _ in range(2))
    for turn in range(rounds):
        for name, (command, variables) in jobs.items():
            idle[name].append(undisturbed(command, variables, tolerance, busy=False))
            busy[name].append(undisturbed(command, variables, tolerance, busy=True))
            print(
                f"round {turn + 1}, {name}: {idle[name][-1]:.1f} s, {busy[name][-1]:.1f} s", file=sys.stderr, flush=True
            )
    threads = [str(json.loads(file.read_text())["threads"]) for file in sorted(work.glob("default-*/env.json"))]
    medians = {name: (statistics.median(idle[name]), statistics.median(busy[name])) for name in jobs}
    rows = [(name, f"{a:.1f}", f"{b:.1f}", f"{b / a:.2f}") for name, (a, b) in medians.items()]
    print(markdown(("what", "idle, s", "beside a busy process, s", "ratio"), rows))
    print(
        f"\nthe main job took {', '.join(threads)} threads (idle and busy in turn); load now {os.getloadavg()[0]:.1f}"
    )
    shutil.rmtree(work)


if __name__ == "__main__":
    run(lambda: auto_cli(main))
