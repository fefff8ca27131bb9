"""How much the two parts of a fused model count, in NumPy: one inverse temperature for each, and the share w of the structure.

    score = (1 − w) · β_text · cosine + w · β_structure · (score of the embedding model)

w is the same for all queries, or one for each question (relation and direction), or follows from the two score lists of a
query by a logistic model of their `features`. All this is a factor on either part of the query's vector; those of entities are
free of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

NUM_FEATURES = 5


@dataclass(frozen=True, eq=False)
class FusionWeights:
    """The weights of a fused model.

    Args:
        scales: (2,) inverse temperatures of cosines and of the embedding model's scores, which make both logits.
        shares: (questions,) of the structure, by relation, then by inverse relation.
        common: the share of a question that is not known.
        logistic: (NUM_FEATURES + 1,) for shares by query: the weights of the features and a constant; else None.
    """

    scales: np.ndarray
    shares: np.ndarray
    common: float
    logistic: np.ndarray | None = None

    @property
    def by_query(self) -> bool:
        """Whether a query's share depends on its scores."""
        return self.logistic is not None

    @cached_property
    def factors(self) -> np.ndarray:
        """(questions, 2): by question, the factors of the text part and of the structure part."""
        return self._factors(self.shares)

    def of(
        self, questions: np.ndarray, knows: np.ndarray, text: Any = None, structure: Any = None, degrees: Any = None
    ) -> np.ndarray:
        """The factors (b, 2) of the two parts of queries.

        Args:
            questions: (b,).
            knows: (b,) whether the structure knows the entity and the relation; if not, its factor is 0, and that of the text is
                not, though its share were none: nothing else is known of the answer.
            text, structure: (b, n) cosines and scores, where shares depend on them.
            degrees: (b,) of the known entities, as for `features`.
        """
        if self.by_query:
            factors = self._factors(logistic(features(self.scales, text, structure, degrees), self.logistic))
        else:
            factors = self.factors[questions]  # a copy
        factors[:, 1] *= knows
        factors[~knows & (factors[:, 0] == 0), 0] = self.scales[0]
        return factors

    def _factors(self, shares: np.ndarray) -> np.ndarray:
        return (np.stack([1 - shares, shares], 1) * self.scales).astype(np.float32)

    def take(self, questions: np.ndarray) -> FusionWeights:
        """The weights of these questions (m,), −1 for one that is not known."""
        return replace(self, shares=np.where(questions < 0, self.common, self.shares[questions]))

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays, to be stored by name."""
        more = {"logistic": self.logistic} if self.by_query else {}
        common = np.array([self.common], dtype=np.float64)
        return {"factors": self.factors, "scales": self.scales, "shares": self.shares, "common": common, **more}

    @classmethod
    def stored(cls, column: Callable[[str], np.ndarray], facts: Mapping[str, Any]) -> FusionWeights:
        """The weights whose `columns` were stored."""
        coefficients = column("logistic") if facts["weights"] == "query" else None
        return cls(column("scales"), column("shares"), float(column("common")[0]), coefficients)


def logistic(x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Shares (b,) of features (b, f)."""
    return 1 / (1 + np.exp(-(x @ coefficients[:-1] + coefficients[-1])))


def features(scales: np.ndarray, text: np.ndarray, structure: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(b, NUM_FEATURES): of the softmax of either score list (b, n) the logarithm of the largest probability and the entropy, by
    that of a uniform one; then the logarithm of 1 + the number of training triples (b,) of the known entity."""
    columns = []
    for scale, scores in zip(scales, (text, structure)):
        logits = scores * np.float32(scale)
        logits = logits - logits.max(1, keepdims=True)
        probabilities = np.exp(logits)
        total = probabilities.sum(1, dtype=np.float64)
        entropy = np.log(total) - (probabilities * logits).sum(1, dtype=np.float64) / total
        uniform = max(np.log(logits.shape[1]), 1e-12)
        columns += [-np.log(total) / uniform, entropy / uniform]
    return np.stack([*columns, np.log1p(degrees)], 1)
