"""Two workers under a launcher that starts them again: one is killed, and the run must end as one that nothing happened to.

    python scripts/bench/restarts.py [--families '[text, DualDE]'] [--kills 2] [--rounds 3]

Each round starts the command of a family under a launcher, `torchrun` or `pmd launch`, kills one of the two workers by SIGKILL when a
step at random has been logged, and the other one when that happens again after the restart. There must be one run folder in the
end, and its files must be those of a run of two workers that nobody killed, byte for byte, times left out (as in kills.py).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from families import FAMILIES, command_of, write_data
from jsonargparse import auto_cli
from kills import differences, duplicates

from pmd.cli.errors import run
from pmd.core.errors import PmdError
from pmd.evaluation.tables import markdown

LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts={}", "-m", "pmd"],
    "pmd launch": ["pmd", "launch", "--max_restarts={}", "2"],
}
"""By name, the module that starts two workers and its arguments; `{}` are the restarts that it may make."""
SECONDS = 300
"""A run that takes longer counts as hung, and is ended."""


def started(launcher: str, command: Sequence[str], folder: Path, restarts: int) -> subprocess.Popen:
    """A launcher with two workers in a new folder; what they print goes to log.txt there."""
    folder.mkdir(parents=True)
    module, *options = LAUNCHERS[launcher]
    options = [option.format(restarts) for option in options]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    with (folder / "log.txt").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *options, *command], cwd=folder, env=environment, stdout=log, stderr=log
        )


def lines_logged(folder: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in folder.glob("runs/*/metrics.jsonl"))


def kill_when_logged(launcher: subprocess.Popen, folder: Path, lines: int, worker: int) -> bool:
    """Kill a worker once its run has logged so many lines; False if the launcher ended before."""
    while launcher.poll() is None and lines_logged(folder) < lines:
        time.sleep(0.02)
    workers = [] if launcher.poll() is not None else _workers(launcher.pid)
    if len(workers) != 2:
        return False
    workers[worker].send_signal(signal.SIGKILL)
    return True


def _workers(launcher: int) -> list[psutil.Process]:
    """The workers of a launcher by their rank; those that have died already are left out."""
    ranks = {}
    for process in psutil.Process(launcher).children(recursive=True):
        try:
            rank = process.environ().get("RANK")
        except psutil.Error:
            continue
        if rank is not None:
            ranks.setdefault(int(rank), process)
    return [ranks[rank] for rank in sorted(ranks)]


def whole(launcher: subprocess.Popen) -> bool:
    """Whether a launcher ends well in time."""
    try:
        return launcher.wait(SECONDS) == 0
    except subprocess.TimeoutExpired:
        for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
            process.kill()
        return False


def restarts(
    families: list[str] = ["text", "embedding", "DualDE", "GLUE"],  # noqa: B006
    launchers: list[str] = [*LAUNCHERS],  # noqa: B006
    kills: int = 2,
    rounds: int = 3,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Print a table of what came of each family under each launcher.

    Args:
        kills: how many workers of a run are killed, one after the other.
        rounds: runs of each family under each launcher.
        out: a new folder where all stays; by default a temporary one.
    """
    place = (out or Path(tempfile.mkdtemp(prefix="restarts-"))).resolve()
    write_data(place / "data")
    rows, drawn = [], random.Random(seed)
    for family in families:
        if family not in FAMILIES:
            raise PmdError(f"families: there is no '{family}'; there are {', '.join(FAMILIES)}")
        command = command_of(family, place / "data")
        untouched = place / f"{family}-untouched"
        if not whole(started(launchers[0], command, untouched, 0)):
            raise PmdError(f"{untouched}: a run that nobody killed did not end well, see log.txt")
        lines = lines_logged(untouched)
        for launcher in launchers:
            killed = ended = same = 0
            for number in range(rounds):
                folder = place / f"{family}-{launcher.replace(' ', '-')}-{number}"
                process = started(launcher, command, folder, kills)
                for at, line in enumerate(sorted(drawn.sample(range(1, lines), kills))):
                    killed += kill_when_logged(process, folder, line, at % 2)
                if not whole(process):
                    print(f"{folder}: did not end well, see log.txt", flush=True)
                    continue
                ended += 1
                ours, theirs = (sorted(where.glob("runs/*/")) for where in (folder, untouched))
                changed = differences(ours[0], theirs[0])
                if len(ours) == 1 and not changed and not duplicates(ours[0]):
                    same += 1
                else:
                    print(f"{folder}: {len(ours)} runs, other files: {', '.join(changed)}", flush=True)
            rows.append((family, launcher, rounds, killed, ended, same))
            print(rows[-1], flush=True)
    print(markdown(("family", "launcher", "runs", "workers killed", "ended", "as if nothing had happened"), rows))


if __name__ == "__main__":
    run(lambda: auto_cli(restarts))
