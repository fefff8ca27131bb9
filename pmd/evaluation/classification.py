"""How well true triples are told from false ones: accuracy, F1 and the area under the ROC curve.

Example, true triples with the values 3 and 1, false ones with 2 and 0: at the threshold 0.5 three of four are judged rightly
(accuracy 0.75, F1 0.8), and three of the four pairs of a true and a false triple are in the right order (area 0.75).
"""

from __future__ import annotations

import numpy as np


def classification_metrics(labels: np.ndarray, judged: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The metrics of verdicts.

    Args:
        labels: (n,) bool, whether each triple is true.
        judged: (n,) bool, whether it was judged to be.
        values: (n,) what the verdicts were made from, higher for more plausible triples.

    Returns:
        `accuracy`, `f1` (of the true triples), `auc` (NaN unless there are triples of both kinds), `true` and `false`: how many.
    """
    right = int((labels & judged).sum())
    halves = right + 0.5 * int((labels ^ judged).sum())
    return {
        "accuracy": float((labels == judged).mean()) if len(labels) else float("nan"),
        "f1": right / halves if halves else float("nan"),
        "auc": area_under_curve(labels, values),
        "true": int(labels.sum()),
        "false": int((~labels).sum()),
    }


def area_under_curve(labels: np.ndarray, values: np.ndarray) -> float:
    """The share of pairs of a true and a false triple in which the true one has the higher value; equal ones count half."""
    true, false = np.sort(values[labels]), np.sort(values[~labels])
    if not len(true) or not len(false):
        return float("nan")
    below, not_above = (np.searchsorted(false, true, side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(false))


def best_threshold(labels: np.ndarray, values: np.ndarray) -> float:
    """The threshold of the highest accuracy, midway between two values: what is not below it is judged true. Of several, the
    lowest."""
    order = np.argsort(values, kind="stable")
    values, labels = values[order], labels[order]
    # Cut i: the first i are judged false. Right are the false ones before it and the true ones from it on.
    right = np.append(0, np.cumsum(~labels)) + labels.sum() - np.append(0, np.cumsum(labels))
    cuts = np.flatnonzero(np.diff(values, prepend=-np.inf, append=np.inf) > 0)  # never between equal values
    cut = cuts[right[cuts].argmax()]
    if cut == 0:
        return float(values[0])
    return float(values[-1] + 1) if cut == len(values) else float((values[cut - 1] + values[cut]) / 2)
