"""Training triples in an order in which neighbours follow each other: batches are parts of the graph (`contrastive.batches`).

A walk begins at a random triple and goes on over triples that were not walked yet, half of the time from where it stands and
half of the time from where it began (a random walk with restart), so that its triples share entities.
"""

from __future__ import annotations

import numpy as np

LENGTH = 16
"""Triples of a walk, at most. Longer walks share hardly more texts, and fill a batch with one neighbourhood."""


def walk_order(triples: np.ndarray, seed: int, epoch: int) -> list[int]:
    """The positions of all triples (n, 3), walk after walk, the walks in random order."""
    rng = np.random.default_rng([seed, epoch])
    n = len(triples)
    # The triples of entity e, shuffled, are around[start[e] : stop[e]]; `start` moves on over those that were walked.
    ends = np.concatenate([triples[:, 0], triples[:, 2]])
    around = (np.lexsort((rng.random(2 * n), ends)) % n).tolist()
    stop = np.cumsum(np.bincount(ends)).tolist()
    start = [0, *stop[:-1]]
    heads, tails = triples[:, 0].tolist(), triples[:, 2].tolist()
    goes_back = (rng.random(n) < 0.5).tolist()
    walked = bytearray(n)

    def step(entity: int) -> int | None:
        """A triple of an entity that was not walked yet."""
        while start[entity] < stop[entity]:
            triple = around[start[entity]]
            if not walked[triple]:
                return triple
            start[entity] += 1
        return None

    walks = []
    for first in rng.permutation(n).tolist():
        if walked[first]:
            continue
        walked[first], walk, begin, here = 1, [first], heads[first], tails[first]
        while len(walk) < LENGTH:
            sides = (begin, here) if goes_back[walk[-1]] else (here, begin)
            triple, side = next(((t, e) for e in sides if (t := step(e)) is not None), (None, None))
            if triple is None:
                break
            walked[triple], here = 1, tails[triple] if heads[triple] == side else heads[triple]
            walk.append(triple)
        walks.append(walk)
    return [triple for walk in rng.permutation(len(walks)).tolist() for triple in walks[walk]]
