"""Does a wide sub-model still know what a narrow one knew? The ability retention ratio of MED (Zhu et al., ACL 2025, 5.6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from pmd.core.errors import PmdError

Retained = tuple[int, int]
"""How many queries were answered, and how many of those all wider models answer too."""


def retention(ranks: Mapping[int, Tensor], k: int = 10) -> float:
    """Of the queries that some width answers within the first k, the share that all wider ones answer too.

    Args:
        ranks: (q,) realistic ranks of the same queries, by width.

    Returns:
        The ratio, in [0, 1]; 1 where no width answers any.

    Raises:
        PmdError: for no width at all, or ranks of different queries.
    """
    return ratio(retained(ranks, k).values())


def retained(ranks: Mapping[int, Tensor], k: int = 10) -> dict[int, Retained]:
    """The same as counts, by the narrowest width that answers a query; arguments as for `retention`.

    The widest has none above it: all that it is the first to answer is kept. So the ratio of all flatters models
    whose narrow ones know little, and the counts by width tell.
    """
    if not ranks:
        raise PmdError("retention: no ranks; rank at least one width")
    widths = sorted(ranks)
    if len({len(ranks[width]) for width in widths}) > 1:
        raise PmdError("retention: the widths were ranked on different queries")
    right = torch.stack([ranks[width] <= k for width in widths])  # (n, q)
    right = right[:, right.any(0)]  # (n, answered)
    # From its first success on, a query stays right: as many successes as widths from there to the widest.
    first = right.int().argmax(0) if right.numel() else torch.zeros(0, dtype=torch.long)
    kept = right.sum(0) == len(widths) - first
    answered, still = (part.bincount(minlength=len(widths)).tolist() for part in (first, first[kept]))
    return dict(zip(widths, zip(answered, still)))


def ratio(counts: Iterable[Retained]) -> float:
    """Kept by answered, over all counts; 1 where nothing was answered."""
    answered, kept = (sum(part) for part in zip(*counts))
    return kept / answered if answered else 1.0
