"""Scores become probabilities, by what the validation split shows: how often an answer with such a score is the true one.

    P(the triple holds) = sigmoid(scale · log-odds + bias)

The log-odds are those of the entity in the softmax, at a temperature, over it and its rivals: the candidates that the graph does
not know as answers. So a probability speaks of a question that has one answer more than the graph knows, as the questions have
that are learned from: validation triples, asked in both directions, known answers left out. It says how often such a triple holds,
no matter how many other answers are known. Where nothing is missing, it is too high.

The temperature belongs to a direction: the one that makes the true answers of validation most likely (Guo et al., ICML 2017). As in
Platt's scaling, one question more is counted, in which the best rival is right, so that a model without mistakes stays finite.
Scale and bias belong to a relation and a direction; they minimise the log loss over all candidates of its validation questions, with
`PRIOR` for a scale of 1 and a bias of 0, which is what a relation without such questions has.

Learning needs SciPy, asking NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pmd.trust.held_out import HeldOut, log_odds

PRIOR = 3.0
"""The weight of (scale − 1)² + bias² over the sum of the log losses: the better of 1, 3, 10 and 30 on validation, out of fold."""
SMALLEST_SCALE = 0.05
WIDEST = 1e3
"""Inverse temperatures that are considered: up to so much above and below that of a spread of 1."""


@dataclass(frozen=True, eq=False)
class Odds:
    """What makes probabilities of the scores of one graph's questions.

    Args:
        inverse_temperatures: (2,) of head and tail questions.
        scales, biases: (2 · num_relations,), head questions first.
    """

    inverse_temperatures: np.ndarray
    scales: np.ndarray
    biases: np.ndarray

    def temperatures_of(self, groups: np.ndarray) -> np.ndarray:
        """The inverse temperatures (q,) of groups (q,)."""
        return self.inverse_temperatures[(groups >= len(self.scales) // 2).astype(int)]

    def logits(
        self, scores: np.ndarray, is_rival: np.ndarray, group: int, entities: np.ndarray | None = None
    ) -> np.ndarray:
        """The logits of the probabilities of some `entities` (m,), by default of all (n,), as answers to a question of a group."""
        (inverse_temperature,) = self.temperatures_of(np.array([group]))
        return self.scales[group] * log_odds(scores, is_rival, inverse_temperature, entities) + self.biases[group]

    def held_out_logits(self, questions: HeldOut) -> tuple[np.ndarray, np.ndarray]:
        """The same of held-out questions: of the true answers (q,) and of their rivals (q, m)."""
        scales, biases = self.scales[questions.groups], self.biases[questions.groups]
        true, rivals = questions.log_odds(self.temperatures_of(questions.groups))
        return scales * true + biases, scales[:, None] * rivals + biases[:, None]


def probability(logits: np.ndarray) -> np.ndarray:
    """The probabilities of logits."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def log_loss(true: np.ndarray, rivals: np.ndarray, counts: np.ndarray) -> float:
    """The log loss of a question, summed over its candidates, on average: of logits of true answers (q,) and rivals (q, m)."""
    return float((np.logaddexp(0, -true) + (np.logaddexp(0, rivals) * counts).sum(1)).mean())


def learn(questions: HeldOut, num_relations: int) -> Odds:
    """The odds that the questions show."""
    inverse_temperatures, scales, biases = np.ones(2), np.ones(2 * num_relations), np.zeros(2 * num_relations)
    for direction in range(2):
        rows = (questions.groups >= num_relations) == direction
        if rows.any():
            inverse_temperatures[direction] = best_inverse_temperature(questions[rows])
    odds = Odds(inverse_temperatures, scales, biases)
    for group in np.unique(questions.groups):
        of_group = questions[questions.groups == group]
        true, rivals = of_group.log_odds(odds.temperatures_of(of_group.groups))
        scales[group], biases[group] = scale_and_bias(true, rivals, questions.counts)
    return odds


def best_inverse_temperature(questions: HeldOut) -> float:
    """The inverse temperature at which the true answers are most likely: where the expected score is theirs."""
    from scipy.optimize import brentq

    scores = np.concatenate([questions.true[:, None], questions.rivals], 1)
    counts = np.array([1, *questions.counts])
    finite = np.isfinite(scores)
    zeroed = np.where(finite, scores, 0)
    weights = counts * finite
    means = (weights * zeroed).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    spread = float(np.sqrt((weights * (zeroed - means) ** 2).sum() / weights.sum()))
    if spread == 0:
        return 1.0
    has_rivals = finite[:, 1]
    surprise = np.where(has_rivals, zeroed[:, 1], zeroed[:, 0]).mean()
    wanted = (len(questions) * zeroed[:, 0].mean() + surprise) / (len(questions) + 1)

    def excess(log_inverse: float) -> float:
        logits = np.exp(log_inverse) * (scores - scores.max(1, keepdims=True))
        shares = counts * np.exp(logits)
        return float(((shares * zeroed).sum(1) / shares.sum(1)).mean()) - wanted

    lowest, highest = np.log(1 / (WIDEST * spread)), np.log(WIDEST / spread)
    if excess(lowest) >= 0 or excess(highest) <= 0:
        return float(np.exp(lowest if excess(lowest) >= 0 else highest))
    return float(np.exp(brentq(excess, lowest, highest, xtol=1e-6)))


def scale_and_bias(true: np.ndarray, rivals: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The scale and the bias of a relation's log-odds, of true answers (q,) and rivals (q, m)."""
    finite = np.isfinite(rivals)
    values = np.concatenate([true, rivals[finite]])
    weights = np.concatenate([np.ones(len(true)), np.broadcast_to(counts, rivals.shape)[finite]])
    return least_log_loss(values, weights, np.arange(len(values)) < len(true), PRIOR)


def least_log_loss(
    values: np.ndarray, weights: np.ndarray, labels: np.ndarray, prior_weight: float
) -> tuple[float, float]:
    """The scale and the bias of the least log loss of values (n,) with weights and labels, held near 1 and 0 by a prior."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * values + parameters[1]
        prior = parameters - (1, 0)
        errors = weights * (probability(logits) - labels)
        slopes = np.array([errors @ values, errors.sum()]) + prior_weight * prior
        return weights @ (np.logaddexp(0, logits) - labels * logits) + prior_weight / 2 * (prior**2).sum(), slopes

    bounds = [(SMALLEST_SCALE, None), (None, None)]
    return tuple(minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x)
