"""Training examples in an order in which those of one query follow each other (`contrastive.batches: queries`).

Where queries have many answers, as in FB15k-237 or UMLS, a batch of n examples then reads the texts of far fewer than n
queries.
"""

from __future__ import annotations

import numpy as np

from pmd.data.texts.ragged import Ragged

LENGTH = 8
"""Answers of a query that follow each other, at most: longer runs save little more."""


def query_order(triples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The positions (2n,) of all examples: triples (n, 3) in their own direction, and then inverse. Runs of one query, its
    answers drawn at random, are in random order."""
    rng = np.random.default_rng([seed, epoch])
    relations = triples[:, 1].max() + 1
    keys = np.concatenate(
        [
            triples[:, 0] * 2 * relations + triples[:, 1],
            triples[:, 2] * 2 * relations + triples[:, 1] + relations,
        ]
    )
    order = np.lexsort((rng.random(len(keys)), keys))
    begins = np.diff(keys[order], prepend=-1) != 0
    first = np.flatnonzero(begins)
    place = np.arange(len(order)) - first[np.cumsum(begins) - 1]  # among the examples of its query
    starts = np.flatnonzero(place % LENGTH == 0)
    runs = Ragged.from_lengths(order, np.diff(starts, append=len(order)))
    return runs.take(rng.permutation(len(starts))).flat
