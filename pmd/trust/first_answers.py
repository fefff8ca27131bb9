"""The first answer of a question has a probability of its own.

Odds that are learned of all candidates (`pmd.trust.odds`) are right on the whole, and too low for first answers. So these have the logit

    scale · logit + bias

and never less than the second answer has, as Platt's scaling of validation questions finds them: of each its first answer, by odds
that other folds of the questions have taught. An answer that is already known is first if it stands above all that are not. Answers
that share the first place keep what they have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pmd.trust.held_out import HeldOut
from pmd.trust.odds import learn, least_log_loss

CLOSE = 1e-3
"""Logits that differ by less share their place."""
PRIOR = 10.0
"""The weight of (scale − 1)² + bias² over the sum of the log losses; of 3, 10 and 30 none was better on validation, out of fold."""
FOLDS = 4


def two_best(scores: np.ndarray, is_rival: np.ndarray) -> list[int]:
    """The two entities of the highest scores (n,) among rivals."""
    rivals = np.where(is_rival, scores, -np.inf)
    best = int(rivals.argmax())
    rivals[best] = -np.inf
    return [best, int(rivals.argmax())]


@dataclass(frozen=True)
class FirstAnswers:
    """What makes the logits of first answers of those that the odds give. By default they stay as they are, as in older indexes."""

    scale: float = 1.0
    bias: float = 0.0

    def mended(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The logits of first answers (q,), by theirs and those of the second ones (q,)."""
        return np.where(first - second > CLOSE, np.maximum(self.scale * first + self.bias, second), first)

    def logits(self, logits: np.ndarray, scores: np.ndarray, is_rival: np.ndarray) -> np.ndarray:
        """The logits (n,) of all entities as answers to a question, by those of the odds, the scores and which are not known answers."""
        rivals = np.where(is_rival, scores, -np.inf)
        best, mended = int(rivals.argmax()), logits.copy()
        is_above = ~is_rival & (scores > rivals[best])
        mended[is_above] = self.scale * logits[is_above] + self.bias
        if is_rival[best]:  # there may be no rivals
            others = np.where(is_rival, logits, -np.inf)
            others[best] = -np.inf
            mended[best] = self.mended(logits[best], others.max())
        return mended

    def held_out_logits(self, true: np.ndarray, rivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits of held-out questions, of true answers (q,) and rivals (q, m)."""
        mended, first_is_true = self.mended(*first_and_second(true, rivals)), true > rivals[:, 0]
        first_rivals = np.where(first_is_true, rivals[:, 0], mended)
        return np.where(first_is_true, mended, true), np.concatenate([first_rivals[:, None], rivals[:, 1:]], 1)


def first_and_second(true: np.ndarray, rivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two highest logits of questions (q,), of true answers (q,) and rivals (q, m) in order."""
    highest = np.sort(np.concatenate([true[:, None], rivals[:, :2]], 1))
    return highest[:, -1], highest[:, -2]


def learn_first_answers(questions: HeldOut, num_relations: int) -> FirstAnswers:
    """What the first answers of questions show."""
    folds = np.random.default_rng(0).permutation(len(questions)) % FOLDS
    firsts, holds = np.empty(len(questions)), np.empty(len(questions), dtype=bool)
    for fold in range(FOLDS):
        rows = folds == fold
        true, rivals = learn(questions[~rows], num_relations).held_out_logits(questions[rows])
        firsts[rows], _ = first_and_second(true, rivals)
        holds[rows] = true > rivals[:, 0]
    return FirstAnswers(*map(float, least_log_loss(firsts, np.ones(len(firsts)), holds, PRIOR)))
