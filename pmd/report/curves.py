"""The curves of a run, read from its metrics.jsonl: every loss term by step, validation by epoch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Curve = dict[int, float]
"""Values by epoch or step."""
OF_WIDTH = ", width "
"""Between a croppable model and one of its widths, in the name of a curve; no stage's name has a comma."""
NOT_TERMS = ("stage", "epoch", "step", "seconds", "lr")
"""The values of a line of training that are no terms of the loss."""


def read_metrics(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The lines of a run's metrics.jsonl, and the numbers, from 1, of those that cannot be read: where a run is cut off,
    the last may be half a line."""
    file = folder / "metrics.jsonl"
    lines, broken = [], []
    for number, text in enumerate(file.read_bytes().splitlines() if file.is_file() else (), 1):
        try:
            values = json.loads(text)
            values["stage"], values["epoch"], values["step"]
            lines.append(values)
        except (ValueError, KeyError, TypeError):
            broken.append(number)
    return lines, broken


def curves(folder: Path) -> dict[str, Curve]:
    """`validation` of a run folder."""
    return validation(read_metrics(folder)[0])


def validation(lines: Iterable[dict[str, Any]]) -> dict[str, Curve]:
    """Validation by stage and epoch, and by width of a croppable model; of a line that was written twice, the last."""
    by_name: dict[str, Curve] = defaultdict(dict)
    for values in lines:
        if "valid" in values:
            by_name[values["stage"]][values["epoch"]] = values["valid"]
            for name, value in values.items():
                if name.startswith("valid_"):
                    width = name.removeprefix("valid_")
                    by_name[f"{values['stage']}{OF_WIDTH}{width}"][values["epoch"]] = value
    return dict(by_name)


def terms(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Every term of the loss, and what else was logged with it (a temperature), by stage and step; the total first."""
    by_name: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for values in lines:
        if "loss" in values:
            for name, value in values.items():
                if name not in NOT_TERMS:
                    by_name[name][values["stage"]][values["step"]] = value
    return by_name
