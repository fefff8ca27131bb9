"""Is one model better than another? A paired bootstrap over the queries that both have ranked.

Queries differ far more from each other than models do on one query. So the difference is taken query by query, and what is
drawn anew, with replacement, are the differences: how much their mean moves says how much it depends on the queries at hand.
Several seeds of a model are averaged query by query before that. The interval therefore holds for the trained models as they
are: what another training would change is the spread over the seeds, which stands beside the mean in a table.

Example: reciprocal ranks (1, 1/2, 1/4) and (1/2, 1/2, 1/8) of three queries differ by (1/2, 0, 1/8), 0.208 on the mean; of the
27 samples of three queries one has no difference above 0, that of the second query alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pmd.core.errors import PmdError

Unit = Literal["query", "triple"]
"""What is drawn: single queries, or triples with both of their queries, which succeed and fail together."""

BLOCK = 2**22
"""Differences that are drawn at a time."""


@dataclass(frozen=True)
class Paired:
    """How much more the first of two models scores.

    Args:
        difference: of the means over all queries.
        low, high: its 95 % interval, by percentiles of the resamples.
        above: the share of resamples whose difference is above 0.
    """

    difference: float
    low: float
    high: float
    above: float

    @property
    def better(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        return self.high < 0


def query_values(ranks: np.ndarray, metric: str) -> np.ndarray:
    """What each of the ranks (q,) adds to a metric whose mean is wanted: `mrr`, or `hits_at_` and a number; fp64 (q,).
    PmdError for another metric."""
    if metric == "mrr":
        return 1 / ranks.astype(np.float64)
    name, _, k = metric.rpartition("_")
    if name != "hits_at" or not k.isdigit():
        raise PmdError(
            f"paired: '{metric}' is not compared query by query; choose mrr, hits_at_1, hits_at_3 or hits_at_10"
        )
    return (ranks <= int(k)).astype(np.float64)


def paired_bootstrap(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    metric: str = "mrr",
    *,
    samples: int = 10_000,
    seed: int = 0,
    unit: Unit = "query",
) -> Paired:
    """Compare two models by the realistic ranks of their seeds, each (q,): of the same queries in the same order, those for
    the head before those for the tail. PmdError for ranks of different queries, or of none."""
    sizes = {len(ranks) for ranks in (*first, *second)}
    if not first or not second or len(sizes) != 1 or 0 in sizes:
        raise PmdError(f"paired: ranks of {sorted(sizes)} queries cannot be compared; rank the same split with both")
    means = [np.mean([query_values(ranks, metric) for ranks in model], axis=0) for model in (first, second)]
    differences = means[0] - means[1]  # (q,)
    if unit == "triple":
        differences = differences.reshape(2, -1).mean(0)  # (triples,)
    resampled = resampled_means(differences, samples, seed)
    low, high = np.percentile(resampled, (2.5, 97.5)).tolist()
    return Paired(float(differences.mean()), low, high, float((resampled > 0).mean()))


def resampled_means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(samples,) the means of as many draws with replacement from values (n,), each of n."""
    generator, size = np.random.default_rng(seed), len(values)
    rows = max(1, BLOCK // size)
    blocks = [min(rows, samples - begin) for begin in range(0, samples, rows)]
    return np.concatenate([values[generator.integers(0, size, (block, size))].mean(1) for block in blocks])
