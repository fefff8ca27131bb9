"""Types that all parts of the package share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

Batch = TypeVar("Batch")

Target = Literal["head", "tail"]
"""The place in a triple that a query leaves open: `tail` for (h, r, ?), `head` for (?, r, t)."""

TARGETS: tuple[Target, Target] = ("head", "tail")

ANSWER_COLUMN: dict[Target, int] = {"head": 0, "tail": 2}
"""The column of a triple that answers a query for a target."""

KNOWN_COLUMN: dict[Target, int] = {"head": 2, "tail": 0}
"""The column of a triple with the known entity of a query for a target."""

LossTerms = dict[str, Tensor]
"""Unweighted scalar loss terms by name."""


@runtime_checkable
class TripleScorer(Protocol):
    """Anything that scores all entities as answers to a query; higher is more plausible."""

    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        """Integer triples (b, 3) -> scores (b, num_entities) in single precision; the entry at `target` is not read."""
        ...


class Rerank(Protocol):
    """A change to the scores of whole queries before they are ranked, such as `NeighbourRerank`."""

    def adjust(self, scores: Tensor, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, num_entities) of the queries of triples (b, 3) -> new scores of the same shape."""
        ...


def moved(batch: Batch, device: torch.device | str) -> Batch:
    """A copy of a dataclass with its tensors, also those in lists and inner dataclasses, on a device."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        if isinstance(value, list):
            return [move(part) for part in value]
        return moved(value, device) if is_dataclass(value) else value

    return replace(batch, **{field.name: move(getattr(batch, field.name)) for field in fields(batch)})


def weighed(terms: LossTerms, batch: Any) -> LossTerms:
    """Means over the rows of a batch, times its `weight`: the mean of that over processes is the mean over the rows of all."""
    return terms if batch.weight == 1 else {name: batch.weight * term for name, term in terms.items()}


class Objective(nn.Module):
    """A training objective: maps a batch to named loss terms and mixes them by `weights`.

    Subclasses define `forward(batch) -> LossTerms` (unweighted) and set `weights`; the loop optimises
    `total(terms)` and logs every term by itself. `rates` holds the learning rates of parameters that have one of their own,
    by name.
    """

    weights: Mapping[str, float]
    rates: Mapping[str, float] = {}

    def total(self, terms: LossTerms) -> Tensor:
        """The weighted sum of the terms, a scalar. A term without a weight is only logged."""
        return torch.stack([self.weights[name] * term for name, term in terms.items() if name in self.weights]).sum()
