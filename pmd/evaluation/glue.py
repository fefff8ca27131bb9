"""GLUE's metrics (Wang et al., ICLR 2019), and the logits that they are computed from.

Names and numbers are those of `evaluate.load("glue", TASK)`. That module is not part of the `evaluate` package but fetched
from the Hub, so the formulas are here, and `evaluate.load("pmd/evaluation/glue_scores", TASK)` offers them without a
network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import fmean

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from pmd.core.distributed import map_shared
from pmd.data.texts.batches import Chunk
from pmd.settings.catalogue import GlueTask


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The share of n predictions that equal their label."""
    return float((predictions == labels).mean())


def f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The harmonic mean of precision and recall of class 1; 0 where class 1 is neither a label nor predicted."""
    hits = ((predictions == 1) & (labels == 1)).sum()
    ones = (predictions == 1).sum() + (labels == 1).sum()
    return float(2 * hits / ones) if ones else 0.0


def matthews_correlation(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The correlation of two binary variables; 0 where one of them is constant."""
    return pearson(predictions == 1, labels == 1)


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Pearson's correlation; 0 where one side is constant (`evaluate` has NaN there)."""
    return _correlation(pearsonr, predictions, labels)


def spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 where one side is constant (`evaluate` has NaN there)."""
    return _correlation(spearmanr, predictions, labels)


def _correlation(statistic: Callable, predictions: np.ndarray, labels: np.ndarray) -> float:
    a, b = (np.asarray(values, dtype=np.float64) for values in (predictions, labels))
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(statistic(a, b)[0])


FORMULAS = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearmanr": spearman,
}


def glue_metrics(task: GlueTask, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The metrics of a task under the names of `evaluate`, from n predictions (label ids, or similarities) and labels."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    return {name: FORMULAS[name](predictions, labels) for name in task.metrics}


def majority_metrics(task: GlueTask, train: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The metrics of always predicting the most frequent label of training; none for a regression, which has no classes."""
    if task.regression:
        return {}
    return glue_metrics(task, np.full(len(labels), np.bincount(train).argmax()), labels)


def glue_score(metrics: dict[str, dict[str, float]]) -> float:
    """The one number of a task, averaged as GLUE does: the mean over splits of the mean of their metrics."""
    return fmean(fmean(values.values()) for values in metrics.values())


def predictions_of(task: GlueTask, logits: Tensor) -> np.ndarray:
    """Label ids (…, N), or similarities of a regression, from logits (…, N, num_labels)."""
    return (logits[..., 0] if task.regression else logits.argmax(-1)).numpy()


@torch.no_grad()
def collect_logits(logits: Callable[[Chunk], Tensor], chunks: Iterable[Chunk], device: torch.device | str) -> Tensor:
    """The logits (n, N, num_labels) of n models for N texts, in their order, from those (n, c, num_labels) of chunks.

    Each process computes its share of the chunks; all must call it.
    """
    each = map_shared(chunks, lambda chunk: (chunk.rows, logits(chunk.to(device)).float().cpu()))
    rows, of_chunks = zip(*each)
    return torch.cat(of_chunks, dim=1)[:, torch.cat(rows).argsort()]
