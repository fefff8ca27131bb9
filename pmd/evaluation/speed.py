"""How long things take beside each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Hashable)


def seconds_of(calls: Mapping[Name, Callable[[], Any]], rounds: int) -> dict[Name, float]:
    """The median seconds of each call over so many rounds, once warm.

    All take turns, so that whatever else the machine does falls on each. A call returns when its work is done: of a
    device's, when its numbers are on the host.
    """
    found: dict[Name, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                found[name].append(time.perf_counter() - began)
    return {name: statistics.median(of) for name, of in found.items()}
