"""Training triples in an order in which neighbours follow each other: batches are parts of the graph (`contrastive.batches`).

A walk begins at a random triple and goes on over triples that were not walked yet, half of the time from where it stands and
half of the time from where it began (a random walk with restart), so that its triples share entities.
"""

from __future__ import annotations

from array import array

import numpy as np

from pmd.data.texts.ragged import Ragged

LENGTH = 16
"""Triples of a walk, at most. Longer walks share hardly more texts, and fill a batch with one neighbourhood."""


def walk_order(triples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The positions of all triples (n, 3), walk after walk, the walks in random order."""
    rng = np.random.default_rng([seed, epoch])
    n = len(triples)
    # The triples of entity e, shuffled, are around[start[e] : stop[e]]; `start` moves on over those that were walked.
    ends = np.concatenate([triples[:, 0], triples[:, 2]])
    # Looked at number by number, through a memoryview: lists of tens of millions take gigabytes.
    around = memoryview(np.lexsort((rng.random(2 * n), ends)) % n)
    stops = np.cumsum(np.bincount(ends))
    start, stop = memoryview(np.concatenate([[0], stops[:-1]])), memoryview(stops)
    heads, tails = (memoryview(np.ascontiguousarray(triples[:, column])) for column in (0, 2))
    goes_back = memoryview(rng.random(n) < 0.5)
    walked = bytearray(n)
    order, lengths = np.empty(n, dtype=np.int64), array("q")
    placed, number = memoryview(order), 0

    def step(entity: int) -> int | None:
        """A triple of an entity that was not walked yet."""
        while start[entity] < stop[entity]:
            triple = around[start[entity]]
            if not walked[triple]:
                return triple
            start[entity] += 1
        return None

    for first in memoryview(rng.permutation(n)):
        if walked[first]:
            continue
        triple, began, begin, here = first, number, heads[first], tails[first]
        walked[first], placed[number], number = 1, first, number + 1
        while number < began + LENGTH:
            sides = (begin, here) if goes_back[triple] else (here, begin)
            triple, side = next(((t, e) for e in sides if (t := step(e)) is not None), (None, None))
            if triple is None:
                break
            here = tails[triple] if heads[triple] == side else heads[triple]
            walked[triple], placed[number], number = 1, triple, number + 1
        lengths.append(number - began)
    return Ragged.from_lengths(order, np.frombuffer(lengths, np.int64)).take(rng.permutation(len(lengths))).flat
