"""Whether a triple holds: a value that is comparable across queries, and a threshold that validation chose.

The value is one of three measures of both sides of a triple (`pmd.trust.sides`); validation chooses which, once for triples and
once for relations:

    score   the mean of both scores, as the model gives them
    share   the mean logarithm of the shares in the softmax over the candidates of each query
    rank    the mean logarithm of the filtered ranks, negated

Thresholds are those of the highest accuracy on validation triples against hard negatives, or against the data set's own false
triples where it has some: one for each relation with at least `ENOUGH` true ones, and one of all triples for the others.

How sure a verdict is follows from the distance: a triple is true with the confidence

    sigmoid(slope · (value − threshold))

which is ½ at the threshold; the slope makes the labels of the same triples most likely, true and false ones in equal weight. So a triple
holds if its confidence is at least ½. It is not the probability of an answer (`pmd.trust.odds`), for which all entities compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pmd.evaluation.classification import area_under_curve, best_threshold
from pmd.trust.hard_negatives import hard_negatives
from pmd.trust.odds import probability
from pmd.trust.relations import relation_measure
from pmd.trust.sides import COLUMNS, MEASURES, Asked, Sides, affordable, measured, scored_queries, sides_of

ENOUGH = 30
"""True validation triples of a relation that gets a threshold of its own."""
AT_MOST, AT_LEAST = 300, 60
"""True validation triples that are judged to choose by; more are drawn from. Among millions of entities they are fewer."""
TEMPERATURES = 2.0 ** np.arange(-4, 8, 0.5)
"""Inverse temperatures that are tried, for scores with a standard deviation of 1."""
SLOPES = 2.0 ** np.arange(-4, 7, 0.25)
"""Slopes of the confidence that are tried, for values with a standard deviation of 1."""


@dataclass(frozen=True)
class Judge:
    """What validation chose.

    Args:
        inverse_temperature: of the shares: the one that makes the true answers of validation most likely.
        triples, relations: the measure by which triples are judged, and relations ranked.
        threshold: triples whose value is not below it hold.
        thresholds: by position, those of relations of their own.
        learned_from: how many true and false triples.
        slope: of the confidence.
    """

    inverse_temperature: float
    triples: str
    relations: str
    threshold: float
    thresholds: Mapping[int, float]
    learned_from: tuple[int, int]
    slope: float

    def sides(self, model: Asked, triples: np.ndarray) -> Sides:
        """Both sides of triples (n, 3)."""
        return sides_of(model, triples, [self.inverse_temperature])

    def values(self, sides: Sides) -> np.ndarray:
        """(n,) what is compared with the thresholds."""
        return measured(sides, self.triples)

    def thresholds_of(self, relations: np.ndarray) -> np.ndarray:
        """The thresholds (n,) of relations (n,)."""
        return np.array([self.thresholds.get(relation, self.threshold) for relation in relations.tolist()])

    def confidences(self, values: np.ndarray, relations: np.ndarray) -> np.ndarray:
        """How likely triples (n,) are true, of true and false ones in equal number; at least ½ for those that hold."""
        return probability(self.slope * (values - self.thresholds_of(relations)))

    @property
    def stored(self) -> dict[str, Any]:
        """For JSON."""
        thresholds = {str(relation): threshold for relation, threshold in self.thresholds.items()}
        return asdict(self) | {"thresholds": thresholds, "learned_from": [*self.learned_from]}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Judge:
        """What was `stored`. TypeError if an earlier version did, which had no slope."""
        thresholds = {int(key): value for key, value in stored["thresholds"].items()}
        return cls(**{**stored, "thresholds": thresholds, "learned_from": tuple(stored["learned_from"])})


def learn(model: Asked, seed: int = 0) -> Judge | None:
    """Choose measures and thresholds on the validation triples of the model's index; None if it has none, or nothing that is
    false."""
    index = model.index
    if index.num_entities < 2:
        return None
    # Of each, and of a false one, both sides are scored; before that its own, to find a temperature.
    count = affordable(6 * AT_MOST, 6 * AT_LEAST, index.num_entities) // 6
    true = sampled(index.triples("valid"), count, seed)
    false = false_triples(index, true, seed, count) if len(true) else true
    if not len(false):
        return None
    beta = inverse_temperature(model, true)
    triples = np.concatenate([true, false])
    labels = np.arange(len(triples)) < len(true)
    sides = sides_of(model, triples, [beta])
    by_measure = {measure: measured(sides, measure) for measure in MEASURES}
    best = max(MEASURES, key=lambda measure: area_under_curve(labels, by_measure[measure]))
    values, relations = by_measure[best], triples[:, 1]
    counts = np.bincount(true[:, 1], minlength=index.num_relations)
    enough = [int(relation) for relation in np.flatnonzero(counts >= ENOUGH) if (~labels[relations == relation]).any()]
    own = {
        relation: best_threshold(labels[relations == relation], values[relations == relation]) for relation in enough
    }
    threshold = best_threshold(labels, values)
    margins = values - np.array([own.get(relation, threshold) for relation in relations.tolist()])
    sizes = len(true), len(false)
    measure = relation_measure(model, true, beta, seed)
    return Judge(beta, best, measure, threshold, own, sizes, confidence_slope(labels, margins))


def confidence_slope(labels: np.ndarray, margins: np.ndarray) -> float:
    """The slope under which labels (n,) are most likely by the margins (n,) of their triples, both labels in equal weight. As in
    Platt's scaling one triple of each more has the other label, so that it is finite where no verdict is wrong."""
    spread = float(margins.std()) or 1.0
    logits = SLOPES * margins[:, None] / spread  # (n, slopes)
    losses = np.zeros(len(SLOPES))
    for label in (True, False):
        of_label = logits[labels == label] * (1 if label else -1)
        right = (len(of_label) + 1) / (len(of_label) + 2)
        losses += (np.logaddexp(0, -of_label) * right + np.logaddexp(0, of_label) * (1 - right)).mean(0)
    return float(SLOPES[losses.argmin()] / spread)


def false_triples(index: Any, true: np.ndarray, seed: int, count: int = AT_MOST) -> np.ndarray:
    """At most so many false triples beside true ones of validation: those of the data set if it has some, otherwise generated."""
    labelled = index.valid_negatives
    if len(labelled):
        return sampled(labelled, count, seed)
    return hard_negatives(
        true, index.triples("train"), index.num_relations, lambda drawn: index.splits_of(drawn) > 0, seed
    )


def inverse_temperature(model: Asked, triples: np.ndarray) -> float:
    """The inverse temperature under which the answers of triples (n, 3) are most likely among the candidates of their queries."""
    target, (known_column, _) = next(iter(COLUMNS.items()))
    first = np.lexsort((triples[:, 1], triples[:, known_column]))[
        :1
    ]  # any would do; indexes of earlier versions had this one
    _, scores = next(scored_queries(model, triples[first], target))
    spread = float(scores[np.isfinite(scores)].std(dtype=np.float64)) or 1.0
    betas = TEMPERATURES / spread
    likelihoods = sides_of(model, triples, betas).shares.mean((0, 1))
    return float(betas[likelihoods.argmax()])


def sampled(triples: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most so many of the triples (n, 3), in their order."""
    if len(triples) <= count:
        return triples
    return triples[np.sort(np.random.default_rng(seed).choice(len(triples), count, replace=False))]
