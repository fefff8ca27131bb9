"""How long calls take, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Hashable)


def median_seconds(calls: Mapping[Name, Callable[[], Any]], rounds: int) -> dict[Name, float]:
    """The median seconds of each call over so many rounds, after one to warm up.

    The calls take turns, so that whatever else the machine does slows all of them alike. A call must return only when its
    work is done; with a GPU, when its numbers are on the host.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}
