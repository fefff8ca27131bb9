"""Checks of settings that several kinds of runs share, made before anything is loaded. An error names the key and the value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Literal, TypeVar

from pmd.core.errors import PmdError, need_package

Stage = TypeVar("Stage")
Interval = Literal["[0, 1]", "[0, 1)", "(0, 1]"]

POSITIVE = ("train.epochs", "train.batch_size", "train.lr", "train.log_every", "evaluation.batch_size")
NOT_NEGATIVE = (
    *("seed", "train.weight_decay", "train.warmup", "train.grad_clip", "train.save_minutes", "train.valid_every"),
    *("train.patience", "train.threads", "train.workers", "train.epoch_steps"),
)
"""Numbers that every run has."""
MAX_SEED = 2**32 - 1
"""The largest that NumPy takes."""


def first_set(*values: Any) -> Any:
    """The first value that is not None."""
    return next(value for value in values if value is not None)


def inherit(stage: Stage, config: Any, keys: Mapping[str, str]) -> Stage:
    """The stage with what it leaves open taken from the run: `keys` maps its settings to dotted keys of the run."""
    left_open = {name: key for name, key in keys.items() if getattr(stage, name) is None}
    return replace(stage, **{name: attrgetter(key)(config) for name, key in left_open.items()})


def resolve_in_order(
    stages: Sequence[Stage], resolve: Callable[[Stage, str, dict[str, Stage]], Stage], empty: str
) -> list[Stage]:
    """The stages with every setting filled in.

    Args:
        stages: as they are listed.
        resolve: fills in a stage, given its key for messages and the stages before it by name.
        empty: the end of the message that refuses an empty list.
    """
    if not stages:
        raise PmdError(f"stages: {empty}")
    earlier: dict[str, Stage] = {}
    for position, stage in enumerate(stages):
        _check_name(f"stages[{position}].name", stage.name, earlier)
        earlier[stage.name] = resolve(stage, f"stages[{position}] ({stage.name})", earlier)
    return [*earlier.values()]


def _check_name(key: str, name: str, taken: Collection[str]) -> None:
    """Refuse the name of a stage that an earlier one has, or that cannot be a folder in a run."""
    if name in taken:
        raise PmdError(f"{key}: '{name}' is taken; give every stage a name of its own")
    # Without dots, so that it is none of the run's own files.
    if not re.fullmatch(r"\w[\w-]*", name) or name in ("checkpoint", "ranks", "none"):
        raise PmdError(f"{key}: {name!r} cannot name a folder of a run; use letters, digits, '-' and '_'")


def numbers_at(settings: Any, *keys: str, prefix: str = "") -> dict[str, Any]:
    """The numbers that stand at dotted keys of some settings, by `prefix` and key."""
    return {f"{prefix}{key}": attrgetter(key)(settings) for key in keys}


def check_numbers(
    positive: Mapping[str, float | None],
    not_negative: Mapping[str, float | None] | None = None,
    of_any_sign: Mapping[str, float | None] | None = None,
) -> None:
    """Refuse numbers, given by key, that are infinite or nan, not > 0 or not ≥ 0; None is passed over."""
    for key, value in {**positive, **(not_negative or {}), **(of_any_sign or {})}.items():
        if value is not None and not math.isfinite(value):
            raise PmdError(f"{key}: {value} is not finite; give a finite number")
    for key, value in positive.items():
        if value is not None and not value > 0:
            raise PmdError(f"{key}: {value} is not positive; give a number above 0")
    for key, value in (not_negative or {}).items():
        if value is not None and not value >= 0:
            raise PmdError(f"{key}: {value} is negative; give 0 or more")


def check_share(key: str, value: float | None, interval: Interval, remedy: str = "") -> None:
    """Refuse a number outside an interval; None is passed over."""
    if value is None or 0 < value < 1 or (value == 0 and "[0" in interval) or (value == 1 and "1]" in interval):
        return
    raise PmdError(f"{key}: {value} is not in {interval}" + (remedy and f"; {remedy}"))


def check_run(config: Any) -> None:
    """Refuse a name, training settings (`train`) or ranking settings (`evaluation`) that no run can have, and a tracker that is
    not installed."""
    check_numbers(numbers_at(config, *POSITIVE), numbers_at(config, *NOT_NEGATIVE))
    if config.seed > MAX_SEED:
        raise PmdError(f"seed: {config.seed} is too large; give 0 to {MAX_SEED}")
    if config.train.patience and not config.train.valid_every:
        raise PmdError("train.patience: needs validation; set train.valid_every, or patience to 0")
    for tracker in config.train.trackers:
        need_package(tracker, "train.report_to needs", tracker)
    if config.name is not None and not re.fullmatch(r"\w[\w.-]*", config.name):
        raise PmdError(f"name: {config.name!r} cannot name a folder; use letters, digits, '-' and '_'")
