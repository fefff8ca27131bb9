"""What makes the structure part of a fused model's vectors, in NumPy: a question needs no torch.

A score of an embedding model is an inner product of a query and a candidate if it is a product, or a squared distance:
−|q − c|² = 2 q·c − |c|² − |q|² is the product of [2q, −1, −|q|²] and [c, |c|², 1]. The query is a linear map and a shift of the
known entity, dimension by dimension, for every relation and direction (a question): a rotation, a translation, a factor. So
tables of these maps are all that is left of an interaction (`pmd.models.kge.as_products` reads them from a model).

Example, TransE with the squared norm, h = (1, 2), r = (0, 1), t = (3, 0): the map is 1, the shift (0, 1), the query (1, 3), and
[2, 6, −1, −10] · [3, 0, 9, 1] = 6 − 9 − 10 = −13 = −(2² + 3²).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

ARRAYS = ("maps", "shifts", "factors")


@dataclass(frozen=True, eq=False)
class ProductTables:
    """The queries of an embedding model as maps of the known entity, by question: relations, then inverse relations.

    Args:
        maps: (questions, parts, parts, dim): what each part of the known entity adds to each part of the query.
        shifts: (questions, parts, dim): what is added to all that.
        factors: (questions, parts, dim) on candidates, where these depend on the relation; else None.
        squared: whether the score is a negated squared distance; else it is a product.
        unit: whether entities are compared at length 1.
    """

    maps: np.ndarray
    shifts: np.ndarray
    factors: np.ndarray | None
    squared: bool
    unit: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Parts and dimensions of an entity."""
        return self.shifts.shape[1:]

    @property
    def width(self) -> int:
        """Numbers in the structure part of a vector."""
        numbers = int(np.prod(self.shape))
        return numbers + self.squared * (2 if self.factors is None else numbers + 1)

    def entities(self, vectors: np.ndarray) -> np.ndarray:
        """The entities (n, parts, dim) that structure parts (n, width) of candidates are made from."""
        return vectors[:, : int(np.prod(self.shape))].reshape(-1, *self.shape)

    def candidates(self, entities: np.ndarray) -> np.ndarray:
        """Entities (n, parts, dim) -> the structure parts (n, width) of candidates."""
        numbers = entities.reshape(len(entities), -1)
        if not self.squared:
            return numbers
        squares, ones = np.square(numbers, dtype=np.float64), np.ones((len(numbers), 1))
        lengths = squares.sum(1, keepdims=True) if self.factors is None else squares
        return np.concatenate([numbers, lengths, ones], 1).astype(np.float32)

    def queries(self, known: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """Known entities (b, parts, dim) and questions (b,) -> the structure parts (b, width) of queries."""
        terms = self.maps[questions].astype(np.float64) * known[:, None]  # faster than einsum for single questions
        query = terms.sum(2) + self.shifts[questions]
        query = query.reshape(len(questions), -1)
        factor = 1.0 if self.factors is None else self.factors[questions].reshape(query.shape)
        parts = [query * factor]
        if self.squared:
            lengths = -np.ones((len(query), 1)) if self.factors is None else -np.square(factor, dtype=np.float64)
            parts = [2 * parts[0], lengths, -np.square(query).sum(1, keepdims=True)]
        return np.concatenate(parts, 1).astype(np.float32)

    def crop(self, width: int) -> ProductTables:
        """The tables of the model's leading dimensions."""
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        return replace(self, **{name: array[..., :width] for name, array in arrays.items()})

    def crop_entities(self, entities: np.ndarray, width: int) -> np.ndarray:
        """Entities (n, parts, dim) -> (n, parts, width), of length 1 again where they are compared so."""
        entities = entities[..., :width]
        if not self.unit:
            return entities
        lengths = np.sqrt(np.square(entities).sum((1, 2), keepdims=True))
        return entities / np.maximum(lengths, 1e-12)

    def take(self, questions: np.ndarray) -> ProductTables:
        """The tables of these questions (m,), for another order of the relations."""
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        return replace(self, **{name: array[questions] for name, array in arrays.items()})

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays, to be stored by name."""
        arrays = {name: getattr(self, name) for name in ARRAYS if getattr(self, name) is not None}
        return {f"structure_{name}": array for name, array in arrays.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """The rest, for JSON."""
        return {"squared": self.squared, "unit": self.unit, "factors": self.factors is not None}

    @classmethod
    def stored(cls, column: Callable[[str], np.ndarray], facts: Mapping[str, Any]) -> ProductTables:
        """The tables whose `columns` and `facts` were stored."""
        factors = column("structure_factors") if facts["factors"] else None
        arrays = column("structure_maps"), column("structure_shifts"), factors
        return cls(*arrays, squared=facts["squared"], unit=facts["unit"])
