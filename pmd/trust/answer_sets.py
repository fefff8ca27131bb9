"""Sets that hold the true answer as often as asked for: split conformal prediction (Vovk et al. 2005; Sadinle et al., JASA 2019).

A set has all entities whose logit reaches a threshold: the (n + 1) (1 − coverage)-th smallest of the logits that the true answers of
n validation questions have, so that a further question, drawn like them, has its answer in its set with the probability that is
asked for. Between two of them it is interpolated: rounded down, it would be exceeded by up to 1 / (n + 1), 5 points of 20 questions.

All validation questions count: those of the same relation and direction 1 each, and all of them together, these too,
`COMMON` / (1 − coverage). So a relation with many questions has a threshold of its own, one with none that of all, and others lie
between. n is the number of questions of equal weight that would be as sure (Kish's): (Σ weights)² / Σ weights².

Example, 19 questions of one relation and a coverage of 0.9: 20 · 0.1 = 2, so the second smallest logit is the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

COMMON = 0.7
"""What all questions count together, in units of the questions that a coverage needs: of 0.3, 0.5, 0.7 and 1 the best by the coverage
of single relations on the validation splits of six models, out of fold."""


@dataclass(frozen=True, eq=False)
class AnswerSets:
    """The logits (n,) of the true answers of validation questions, and their `groups` (n,), as in `HeldOut`."""

    groups: np.ndarray
    logits: np.ndarray

    @lru_cache(maxsize=1024)  # noqa: B019 a model has one
    def threshold(self, group: int, coverage: float) -> float:
        """The least logit in a set for a question of a group; -inf, which every entity reaches, where there are too few questions."""
        if len(self.logits) < needed_questions(coverage):
            return -np.inf
        order = np.argsort(self.logits)
        weights = (self.groups[order] == group) + COMMON / (1 - coverage) / len(order)
        shares = np.cumsum(weights) / weights.sum()
        questions = weights.sum() ** 2 / (weights**2).sum()
        return float(np.interp((1 - coverage) * (1 + 1 / questions), shares, self.logits[order]))


def needed_questions(coverage: float) -> int:
    """How many questions there must be for such a coverage."""
    return int(np.ceil(1 / (1 - coverage) - 1 - 1e-9))  # 1 / (1 − 0.9) is a little above 10
