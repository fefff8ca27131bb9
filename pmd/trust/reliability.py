"""How far the probabilities and sets of a model can be trusted: measured on a split that nothing was learned from.

Calibration: pairs of a question and a candidate are put into ten bins by probability. In each, the mean probability is compared with
the share of pairs that hold; the expected calibration error (ECE) is their difference, weighted by the pairs. Of each question its first
answer counts, or its ten first. "Before" are the shares of a softmax over the scores as the model was trained to be read.

Coverage: how often the set of a question holds its answer, with a 95 % binomial interval (Clopper-Pearson), and the size of the sets:
among the candidates that the graph does not know as answers (filtered), and among all. A set without entities has missed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pmd.trust.answer_sets import AnswerSets
from pmd.trust.calibration import Calibration
from pmd.trust.first_answers import FirstAnswers
from pmd.trust.held_out import HeldOut, held_out
from pmd.trust.odds import Odds, log_loss, probability
from pmd.trust.sides import Asked

BINS = 10
FIRST = {"first": 1, "ten": 10}
"""How many answers of a question are compared."""
COVERAGES = (0.8, 0.9, 0.95)
LARGE = 100
"""A set that is larger is not given, by default."""


def measure_trust(model: Asked, calibration: Calibration, split: str) -> dict[str, Any]:
    """What the questions of a split show, as JSON: `calibration` before and after, `coverage` of sets, and that of `relations`."""
    filtered, unfiltered = held_out(model, [split])
    if not len(filtered):
        return {"split": split, "questions": 0}
    num_relations = model.index.num_relations
    before = Odds(np.full(2, model.logit_scale), np.ones(2 * num_relations), np.zeros(2 * num_relations))
    odds = {"before": (before, FirstAnswers()), "after": (calibration.odds, calibration.first_answers)}
    sets = {"filtered": (filtered, calibration.new_sets), "unfiltered": (unfiltered, calibration.all_sets)}
    coverage, relations = [], []
    for asked in COVERAGES:
        for candidates, (questions, of_candidates) in sets.items():
            hit, size = members(calibration.odds, of_candidates, questions, asked)
            coverage.append({"asked": asked, "candidates": candidates, **summary(hit, size)})
            for group in np.unique(questions.groups):
                rows, relation = questions.groups == group, int(group) % num_relations
                name = dict(zip(("id", "name"), model.index.relations.pair(relation)))
                where = {"relation": name, "target": "tail" if group >= num_relations else "head"}
                relations.append({**where, "asked": asked, "candidates": candidates, **summary(hit[rows], size[rows])})
    measured = {"split": split, "questions": len(filtered), "coverage": coverage, "relations": relations}
    return {**measured, "calibration": {when: calibrated(*of_time, filtered) for when, of_time in odds.items()}}


def calibrated(odds: Odds, first_answers: FirstAnswers, questions: HeldOut) -> dict[str, Any]:
    """The log loss of a question, and the ECE and bins of its first answer and of the ten first."""
    true, rivals = first_answers.held_out_logits(*odds.held_out_logits(questions))
    logits = np.concatenate([true[:, None], rivals[:, : max(FIRST.values())]], 1)
    order = np.argsort(-logits, axis=1, kind="stable")
    sorted_probabilities, is_true = probability(np.take_along_axis(logits, order, 1)), order == 0
    parts = {
        name: reliability(sorted_probabilities[:, :n].ravel(), is_true[:, :n].ravel()) for name, n in FIRST.items()
    }
    return {"log_loss": log_loss(true, rivals, questions.counts), **parts}


def reliability(probabilities: np.ndarray, is_true: np.ndarray) -> dict[str, Any]:
    """The ECE of pairs (n,), and for each bin that is not empty the mean probability, the share that holds, and the pairs."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    numbers = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, probabilities, BINS), np.bincount(bins, is_true, BINS)
    filled = numbers > 0
    means, shares = (total[filled] / numbers[filled] for total in sums)
    ece = float(np.abs(sums[0] - sums[1]).sum() / len(probabilities))
    return {"ece": ece, "bins": [list(row) for row in zip(means.tolist(), shares.tolist(), numbers[filled].tolist())]}


def members(odds: Odds, sets: AnswerSets, questions: HeldOut, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each question (q,): whether its set holds the answer, and the size of the set."""
    true, rivals = odds.held_out_logits(questions)
    thresholds = np.array([sets.threshold(int(group), coverage) for group in questions.groups])
    hit = true >= thresholds
    return hit, hit + ((rivals >= thresholds[:, None]) & np.isfinite(rivals)) @ questions.counts


def summary(hit: np.ndarray, size: np.ndarray) -> dict[str, Any]:
    """Coverage with its interval, and sizes, of the sets of some questions."""
    from scipy.stats import binomtest

    interval = binomtest(int(hit.sum()), len(hit)).proportion_ci(0.95)
    shares = {"empty": float((size == 0).mean()), "large": float((size > LARGE).mean())}
    sizes = {"mean_size": float(size.mean()), "median_size": float(np.median(size)), **shares}
    return {"questions": len(hit), "coverage": float(hit.mean()), "interval": [*map(float, interval)], **sizes}


def calibration_rows(measured: dict[str, Any]) -> list[dict[str, str]]:
    """The cells of a table: before and after."""
    titles = {"first": "ECE, first answer", "ten": "ECE, ten first"}
    return [
        {
            "probabilities": when,
            **{titles[name]: f"{values[name]['ece']:.3f}" for name in titles},
            "log loss": f"{values['log_loss']:.3f}",
        }
        for when, values in measured["calibration"].items()
    ]


def coverage_rows(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The cells of a table, of the entries of `coverage` or of `relations`."""
    return [
        {
            **({"relation": row["relation"]["name"], "asks for the": row["target"]} if "relation" in row else {}),
            "asked for": f"{row['asked']:.0%}",
            "candidates": row["candidates"],
            "coverage": f"{row['coverage']:.1%}",
            "95 % interval": "–".join(f"{100 * end:.1f}" for end in row["interval"]),
            "questions": f"{row['questions']:,}",
            "mean size": f"{row['mean_size']:,.1f}",
            "median size": f"{row['median_size']:,.0f}",
            "empty": f"{row['empty']:.1%}",
            f"over {LARGE}": f"{row['large']:.1%}",
        }
        for row in rows
    ]
