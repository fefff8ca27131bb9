"""The curves of a run, read from its metrics.jsonl: every loss term by step, validation by epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Curve = dict[int, float]
"""Values by epoch or step."""
OF_WIDTH = ", width "
"""Between a croppable model and one of its widths, in the name of a curve; no stage's name has a comma."""
NO_TERMS = ("stage", "epoch", "step", "seconds", "lr")
"""What else stands in a line of training."""


def read_metrics(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The lines of a run's metrics.jsonl, and the numbers, from 1, of those that are no such line: where a run is cut
    off, the last may be half a line."""
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
    """Validation by stage and epoch, and by width of a croppable model; of a line that was written twice, the last."""
    return validation(read_metrics(folder)[0])


def validation(lines: Iterable[dict[str, Any]]) -> dict[str, Curve]:
    """`curves` of lines that are read."""
    found: dict[str, Curve] = {}
    for values in lines:
        if "valid" in values:
            found.setdefault(values["stage"], {})[values["epoch"]] = values["valid"]
            for name, value in values.items():
                if name.startswith("valid_"):
                    place = f"{values['stage']}{OF_WIDTH}{name.removeprefix('valid_')}"
                    found.setdefault(place, {})[values["epoch"]] = value
    return found


def terms(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Every term of the loss, and what else was logged with it (a temperature), by stage and step; the total first."""
    found: dict[str, dict[str, Curve]] = {}
    for values in lines:
        if "loss" in values:
            for name, value in values.items():
                if name not in NO_TERMS:
                    found.setdefault(name, {}).setdefault(values["stage"], {})[values["step"]] = value
    return found
