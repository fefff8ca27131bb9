"""Checks of settings that all kinds of runs share, made before anything is loaded. An error names the key and the value."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pmd.core.errors import PmdError


def check_name(stage: str, name: str, taken: Collection[str]) -> None:
    """Refuse the name of a stage that an earlier one has, or that cannot be a folder in a run; `stage` is its key."""
    if name in taken:
        raise PmdError(f"{stage}.name: '{name}' is taken; give every stage a name of its own")
    # Without dots, so that it is none of the run's own files.
    if not re.fullmatch(r"\w[\w-]*", name) or name in ("checkpoint", "ranks", "none"):
        raise PmdError(f"{stage}.name: {name!r} cannot name a folder of a run; use letters, digits, '-' and '_'")


def check_numbers(positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    """Refuse numbers, given by key, that are not > 0 or not ≥ 0."""
    for key, value in positive.items():
        if not value > 0:
            raise PmdError(f"{key}: {value} is not positive; give a number above 0")
    for key, value in not_negative.items():
        if not value >= 0:
            raise PmdError(f"{key}: {value} is negative; give 0 or more")


def check_run(config: Any) -> None:
    """Refuse a name, training settings (`train`) or ranking settings (`evaluation`) that no run can have."""
    positive = {f"train.{name}": getattr(config.train, name) for name in ("epochs", "batch_size", "lr", "log_every")}
    positive["evaluation.batch_size"] = config.evaluation.batch_size
    names = ("weight_decay", "warmup", "grad_clip", "save_minutes", "valid_every", "valid_triples", "patience")
    not_negative = {f"train.{name}": getattr(config.train, name) for name in (*names, "threads", "workers")}
    not_negative |= {"seed": config.seed, "evaluation.rerank_hops": config.evaluation.rerank_hops}
    check_numbers(positive, not_negative)
    if config.train.patience and not config.train.valid_every:
        raise PmdError("train.patience: needs validation; set train.valid_every, or patience to 0")
    if config.name is not None and not re.fullmatch(r"\w[\w.-]*", config.name):
        raise PmdError(f"name: {config.name!r} cannot name a folder; use letters, digits, '-' and '_'")


def first(*values: Any) -> Any:
    """The first value that is not None."""
    return next(value for value in values if value is not None)
