"""Seconds and memory of a call: what the benchmarks of ranking and of embedding models share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def clocked(run: Callable[[], T]) -> tuple[float, float, T]:
    """Seconds by the clock, seconds of the processor over all threads, and what came out.

    Where other work shares the cores, the processor's say more, provided that waiting threads sleep
    (OMP_WAIT_POLICY=PASSIVE).
    """
    used = time.process_time()
    seconds, result = timed(run)
    return seconds, time.process_time() - used, result


def peak_memory(run: Callable[[], object]) -> float:
    """MB by which the resident memory grew at most while `run` ran (Linux; looked at every millisecond).

    Memory that earlier calls have left to the C library is given back first, or `run` would take it unseen.
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
