"""Training examples in an order in which those of one query follow each other (`contrastive.batches: queries`).

Where queries have many answers, as in FB15k-237 or UMLS, a batch of n examples then reads the texts of far fewer than n
queries.
"""

from __future__ import annotations

import numpy as np

from pmd.data.texts.ragged import Ragged
from pmd.settings.text import ANSWERS


def query_order(keys: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The positions of all examples, whose queries have texts of these keys (n,). Runs of one query, its answers drawn at
    random, are in random order."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(keys))
    order = order[np.argsort(keys[order], kind="stable")]
    begins = np.diff(keys[order], prepend=-1) != 0
    first = np.flatnonzero(begins)
    place = np.arange(len(order)) - first[np.cumsum(begins) - 1]  # among the examples of its query
    starts = np.flatnonzero(place % ANSWERS == 0)
    runs = Ragged.from_lengths(order, np.diff(starts, append=len(order)))
    return runs.take(rng.permutation(len(starts))).flat
