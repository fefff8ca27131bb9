"""How long a step of a training takes here: a few steps of the run that is planned, before it is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any

import torch

from pmd.api.state import undisturbed
from pmd.core.types import Objective
from pmd.recipes.stages import FamilyRun
from pmd.training.batching import epoch_batches
from pmd.training.device import accelerator_for

STEPS = 6
"""Steps that are timed; the first is not counted."""
SECONDS = 20.0
"""After so long, fewer steps have to do."""


class _Rehearsed(Exception):
    """Ends the making of a model where its training would begin."""


def seconds_per_step(family: type[FamilyRun], config: Any) -> float:
    """The median time of a training step of the run's first stage."""
    times: list[float] = []

    class Rehearsal(family):  # type: ignore[misc, valid-type]
        def fit(
            self, objective: Objective, num_examples: int, collate: Callable, stage: Any, seed: int, **_: Any
        ) -> Any:
            times.extend(_timed(objective.to(self.accelerator.device), num_examples, collate, stage, self))
            raise _Rehearsed

    rehearsal = Rehearsal(config)
    with undisturbed(), suppress(_Rehearsed):  # the next candidate may have another precision
        rehearsal.accelerator = accelerator_for(config.train)
        rehearsal.data = rehearsal.load_data([*rehearsal.stages.values()])
        rehearsal.make(next(iter(rehearsal.stages.values())), config.seed * 1000)
    return median(times[1:] or times)


def _timed(objective: Objective, num_examples: int, collate: Callable, stage: Any, run: FamilyRun) -> list[float]:
    device, batch_size = run.accelerator.device, min(run.config.train.batch_size, num_examples)
    batches = epoch_batches(num_examples, batch_size, seed=0, epoch=0)
    began, times = time.perf_counter(), []
    objective.train()
    for positions in batches[:STEPS]:
        start = time.perf_counter()
        with run.accelerator.autocast():
            loss = objective.total(objective(collate(positions).to(device)))
        loss.backward()
        objective.zero_grad()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > SECONDS:
            break
    return times
