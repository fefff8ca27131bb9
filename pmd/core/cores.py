"""How many cores are free for this process. It takes that many threads, which sleep while they wait if it is not alone.

OpenMP threads wait for each other by spinning. That is fastest where no other work wants a core, and ruinous where some
does: the thread that all others wait for is then not running. Load and quotas are read on Linux; elsewhere all cores
count as free.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SAMPLE = 0.25  # seconds over which the load is measured
TOLERANCE = 0.3  # of a core: some small process always runs
BETWEEN = 30.0  # seconds between two readings of the load during a run


class Cores(NamedTuple):
    """The cores that this process may use, and those of them that other work leaves to it: at least one."""

    usable: int
    free: int


class Reading(NamedTuple):
    """The CPU time used up to a point in time.

    `limits` are pairs, one for the machine and one for each quota: the cores it allows, and the CPU seconds used of it by all
    processes. `run_seconds` are the CPU seconds used by this run.
    """

    time: float
    limits: list[tuple[float, float]]
    run_seconds: float


def processor_name(root: Path = Path("/")) -> str:
    """What the processor is called, by the system or else by its kind."""
    info = root / "proc" / "cpuinfo"
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


@cache
def cores_at_start() -> Cores:
    """The cores that are free when this is first called."""
    before = read()
    time.sleep(SAMPLE)
    return cores_between(before, read())


def cores_between(before: Reading, after: Reading) -> Cores:
    """The cores that were free on average between two readings."""
    seconds, by_run = after.time - before.time, after.run_seconds - before.run_seconds
    by_others = [(limit, used - earlier - by_run) for (limit, used), (_, earlier) in zip(after.limits, before.limits)]
    usable = max(1, int(min(limit for limit, _ in by_others) + TOLERANCE))
    free = int(min(limit - max(0.0, used) / seconds for limit, used in by_others) + TOLERANCE)
    return Cores(usable, min(usable, max(1, free)))


def read(root: Path = Path("/")) -> Reading:
    """The CPU time used up to now of the machine and of this process's control groups; `root` is that of the file system."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    limits, run_seconds = [(len(allowed), 0.0)], 0.0
    with contextlib.suppress(OSError, ValueError):  # there is no /proc on other systems
        limits = [(len(allowed), busy_seconds((root / "proc/stat").read_text(), allowed)), *group_limits(root)]
        run_seconds = family_seconds(root, os.getppid() if "LOCAL_WORLD_SIZE" in os.environ else os.getpid())
    return Reading(time.monotonic(), limits, run_seconds)


def busy_seconds(stat: str, allowed: set[int]) -> float:
    """Seconds for which the allowed CPUs were not idle, from the text of /proc/stat."""
    ticks = 0
    for line in stat.splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in allowed:
            user, nice, system, _idle, _iowait, *others = map(int, counts[:8])  # others: interrupts, and stolen time
            ticks += user + nice + system + sum(others)
    return ticks / os.sysconf("SC_CLK_TCK")


def family_seconds(root: Path, ancestor: int) -> float:
    """CPU seconds used by a process and by all processes that it started."""
    parents, ticks = {}, {}
    for file in root.glob("proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()  # after the name, which may hold spaces
            process = int(file.parent.name)
            parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    family = {ancestor}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(process, 0) for process in family) / os.sysconf("SC_CLK_TCK")


def group_limits(root: Path) -> Iterator[tuple[float, float]]:
    """The cores allowed, and the CPU seconds used, of each control group around this process that has a quota."""
    folder = root / "sys/fs/cgroup"
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for level in (PurePosixPath(path), *PurePosixPath(path).parents):
            group = str(level).lstrip("/")
            with contextlib.suppress(OSError, ValueError):  # no such group here, or its quota is "max"
                if controllers:  # version 1
                    files = [folder / "cpu" / group / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
                    used = int((folder / "cpuacct" / group / "cpuacct.usage").read_text()) / 1e9
                else:
                    files = [folder / group / "cpu.max"]
                    used = int((folder / group / "cpu.stat").read_text().split()[1]) / 1e6
                quota, period = (int(number) for file in files for number in file.read_text().split())
                if quota > 0:
                    yield quota / period, used


def threads_asked(environment: Mapping[str, str], root: Path = Path("/"), parent: int | None = None) -> int:
    """The threads that the user asks for by OMP_NUM_THREADS; 0 if it is not set.

    `accelerate launch` and `torchrun` set it too, usually to 1. So in their processes the launcher's own environment and
    command line count.
    """
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if not first.isdigit() or not {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"} & environment.keys():
        return int(first) if first.isdigit() else 0
    launcher = root / "proc" / str(parent or os.getppid())
    try:
        variables, command = ((launcher / name).read_bytes() for name in ("environ", "cmdline"))
    except OSError:
        return int(first) if first != "1" else 0
    users = b"\0OMP_NUM_THREADS=" in b"\0" + variables or b"--num_cpu_threads_per_process" in command
    return int(first) if users else 0


def thread_count(processes: int = 1) -> int:
    """How many threads each of some processes on this machine takes: those the user asks for, else its share of free cores."""
    return threads_asked(os.environ) or max(1, cores_at_start().free // processes)


def sleep_while_waiting() -> None:
    """Let waiting threads sleep unless all cores are free. Call it before torch is imported, when OpenMP reads the setting."""
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys()
    if not chosen and "torch" not in sys.modules and cores_at_start().free < cores_at_start().usable:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def described(threads: int, cores: Cores) -> str:
    """`2 threads`; where other work takes some of the cores, `1 of 2 cores free: 1 thread`."""
    free = f"{cores.free} of {cores.usable} cores free: " if cores.free < cores.usable else ""
    return f"{free}{threads} thread{'s' if threads > 1 else ''}"


class Watch:
    """Notices, once, that a run's threads have lost cores to other work, or that cores for more threads have become free."""

    def __init__(self, threads: int):
        self.threads, self.last, self.reported = threads, read(), False

    def remark(self) -> str | None:
        """What has changed since the start, or None; the load is read every `BETWEEN` seconds at most."""
        if self.reported or time.monotonic() < self.last.time + BETWEEN:
            return None
        before, self.last = self.last, read()
        remark = changed(self.threads, cores_at_start(), cores_between(before, self.last))
        self.reported = remark is not None
        return remark


def changed(threads: int, start: Cores, now: Cores) -> str | None:
    """A remark for a run of so many threads whose free cores have changed since the start; None if there is none to make."""
    if now.free < threads <= start.free:
        advice = "if you stop and resume it, it keeps that number, and the threads sleep while they wait"
    elif threads == start.free < now.free:
        advice = "a new run would take more"
    else:
        return None
    return f"{now.free} of {now.usable} cores are free now; the run has {threads} thread(s), on which its numbers depend; {advice}"
