"""What every run refuses before anything is loaded: names, and numbers out of range. Each error names its key."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pmd.core.errors import PmdError


def check_name(place: str, name: str, taken: Collection[str]) -> None:
    """Refuse a stage's name that is taken, or that cannot be a folder of a run."""
    if name in taken:
        raise PmdError(f"{place}.name: '{name}' is taken; every stage needs a name of its own")
    # A dot could name one of the run's own files.
    if not re.fullmatch(r"\w[\w-]*", name) or name in ("checkpoint", "ranks", "none"):
        raise PmdError(f"{place}.name: {name!r} cannot name a folder of a run; use letters, digits, '-' and '_'")


def check_numbers(positive: Mapping[str, float], not_negative: Mapping[str, float]) -> None:
    """Refuse values by key that are not > 0, or not ≥ 0."""
    for key, value in positive.items():
        if not value > 0:
            raise PmdError(f"{key}: {value} must be positive")
    for key, value in not_negative.items():
        if not value >= 0:
            raise PmdError(f"{key}: {value} must not be negative")


def check_run(config: Any) -> None:
    """Refuse what no run can do: its name, the loop's settings (`train`) and the ranking's (`evaluation`)."""
    positive = {f"train.{name}": getattr(config.train, name) for name in ("epochs", "batch_size", "lr", "log_every")}
    positive["evaluation.batch_size"] = config.evaluation.batch_size
    names = ("weight_decay", "warmup", "grad_clip", "save_minutes", "valid_every", "valid_triples", "patience")
    not_negative = {f"train.{name}": getattr(config.train, name) for name in (*names, "threads", "workers")}
    not_negative |= {"seed": config.seed, "evaluation.rerank_hops": config.evaluation.rerank_hops}
    check_numbers(positive, not_negative)
    if config.train.patience and not config.train.valid_every:
        raise PmdError("train.patience: nothing is validated; set train.valid_every, or patience to 0")
    if config.name is not None and not re.fullmatch(r"\w[\w.-]*", config.name):
        raise PmdError(f"name: {config.name!r} cannot name a folder; use letters, digits, '-' and '_'")


def first(*values: Any) -> Any:
    """The first value that is not None."""
    return next(value for value in values if value is not None)
