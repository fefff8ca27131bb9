"""Seconds and memory of calls, shared by the benchmarks."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """The seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def clocked(run: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds by the clock, seconds of the processor over all threads, and the result of a call.

    Where other work shares the cores, the seconds of the processor say more, provided that waiting threads sleep
    (OMP_WAIT_POLICY=PASSIVE).
    """
    used = time.process_time()
    seconds, result = timed(run)
    return seconds, time.process_time() - used, result


def in_turns(ways: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of the processor for each way in each turn, after a turn to warm up.

    In a turn every way is timed once, so that whatever else the machine does falls on all of them.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repetitions + 1):
        for way, call in ways.items():
            used = clocked(call)[1]
            if turn:
                seconds[way].append(used)
    return seconds


class Clock:
    """Seconds of the processor, and the most memory that is the process's own, looked at every 20 ms (Linux)."""

    def __enter__(self) -> Clock:
        self.peak, self.done = 0, threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        self.began = time.process_time()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, own_memory())

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.began
        self.done.set()
        self.watcher.join()
        self.peak = max(self.peak, own_memory())


def own_memory() -> int:
    """The bytes of a process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def peak_memory(run: Callable[[], object]) -> float:
    """The largest growth of the resident memory during a call, in MB, looked at every millisecond (Linux).

    Freed memory that the C library still holds is given back first: taken again, it would not be seen.
    """
    resident = Path("/proc/self/statm")
    if not resident.exists():
        return float("nan")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = [int(resident.read_text().split()[1])]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            pages.append(int(resident.read_text().split()[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return (max(pages) - pages[0]) * 4096 / 1e6
