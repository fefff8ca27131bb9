"""The catalogue: a row for each family of models, encoder, interaction, method and metric. The rows stand in catalogue.yaml.

Checks, tables, cards, reports, shell completion and help read names and titles here and nowhere else. `register` adds a
row from outside the package, and every reader then knows it. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from pmd.core.errors import PmdError
from pmd.settings.rows import (
    BertMethod,
    EmbeddingMethod,
    Encoder,
    Family,
    Interaction,
    InteractionName,
    Method,
    Metric,
    RankingMetric,
    Row,
    TaskName,
    TextMethod,
    lookup,
)
from pmd.settings.tasks import TASKS

__all__ = ["ENCODERS", "FAMILIES", "INTERACTIONS", "METHODS", "METRICS", "choices", "lookup", "register"]


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast: every command reads the file
_STORED = yaml.load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), _LOADER)


def _rows(row: type[Row], stored: Mapping[str, Mapping[str, Any]], **shared: str) -> dict[str, Row]:
    """The rows of a part of the file by name."""
    lists = {
        name: {k: tuple(v) if isinstance(v, list) else v for k, v in cells.items()} for name, cells in stored.items()
    }
    return {name: row(name, **shared, **cells) for name, cells in lists.items()}


FAMILIES = _rows(Family, _STORED["families"])
ENCODERS = _rows(Encoder, _STORED["encoders"])
INTERACTIONS = _rows(Interaction, _STORED["interactions"])
METHODS = {family: _rows(Method, stored, family=family) for family, stored in _STORED["methods"].items()}
METRICS = {measures: _rows(Metric, stored, measures=measures) for measures, stored in _STORED["metrics"].items()}


def register(row: Interaction | Method) -> None:
    """Add a row. PmdError if its name is taken."""
    rows: dict[str, Any] = METHODS[row.family] if isinstance(row, Method) else INTERACTIONS
    if row.name in rows:
        raise PmdError(f"catalogue: the name '{row.name}' is taken by {rows[row.name].title}; choose another one")
    rows[row.name] = row


def choices(hint: Any) -> list[str]:
    """The names that a setting of this type takes, where the catalogue has them; empty for other types."""
    tables: dict[Any, Mapping[str, Any]] = {
        InteractionName: INTERACTIONS,
        TextMethod: METHODS["text"],
        EmbeddingMethod: METHODS["embedding"],
        BertMethod: METHODS["bert"],
        RankingMetric: METRICS["ranking"],
        TaskName: TASKS,
    }
    return next(([*tables[part]] for part in (hint, *get_args(hint)) if part in tables), [])
