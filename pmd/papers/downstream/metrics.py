"""How well entities are labelled and items recommended. Labels are counted by scikit-learn (the extra `downstream`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from pmd.core.errors import PmdError


def sklearn(part: str) -> ModuleType:
    """A module of scikit-learn, such as `metrics`. PmdError if it is not installed."""
    try:
        return import_module(f"sklearn.{part}")
    except ImportError:
        raise PmdError("downstream tasks need scikit-learn: pip install 'pmd[downstream]'") from None


def labelling_metrics(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """`accuracy`, and `f1`: the mean over classes (macro)."""
    metrics = sklearn("metrics")
    return {
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "f1": float(metrics.f1_score(truth, predicted, average="macro")),
    }


def ndcg(scores: Tensor, wanted: Tensor, excluded: Tensor, k: int) -> float:
    """ndcg@k of one wanted item for each user, mean over users: 1 / log2(1 + place) up to place k, else 0.

    Tied items share their places, as in scikit-learn's `ndcg_score`, which takes a hundred times as long.

    Args:
        scores: (u, i), higher is better.
        wanted: (u,) positions of items.
        excluded: (u, i) booleans: what is no candidate.
    """
    own = scores.gather(1, wanted[:, None])
    better = ((scores > own) & ~excluded).sum(1)
    tied = ((scores == own) & ~excluded).sum(1)  # the wanted item is one of them
    gains = 1 / torch.arange(2, k + 2, dtype=torch.float64, device=scores.device).log2()
    upto = torch.nn.functional.pad(gains.cumsum(0), (1, 0))  # (k + 1,): of the first 0 to k places
    each = (upto[(better + tied).clamp(max=k)] - upto[better.clamp(max=k)]) / tied
    return float(each.mean())
