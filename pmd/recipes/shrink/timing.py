"""How long a question to a candidate takes, with one thread on the CPU, the models in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from pmd.evaluation.speed import median_seconds


def median_milliseconds(calls: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """The median time of each call. All precisions are computed with in fp32, so that they take the same time."""
    with _one_thread():
        return {key: 1000 * seconds for key, seconds in median_seconds(calls, rounds).items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
