"""Does a wide sub-model still know what a narrow one knew? The ability retention ratio of MED (Zhu et al., ACL 2025, 5.6.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from pmd.core.errors import PmdError
from pmd.evaluation.metrics import Ranks


def retention(ranks: Mapping[int, Ranks], k: int = 10) -> float:
    """Of the queries that some width answers within the first k, the share that all wider ones answer too.

    Args:
        ranks: of the same queries, by width.

    Returns:
        The ratio, in [0, 1]; 1 where no width answers any.

    Raises:
        PmdError: for no width at all, or ranks of different queries.
    """
    if not ranks:
        raise PmdError("retention: no ranks; rank at least one width")
    widths = sorted(ranks)
    if len({len(ranks[width].realistic) for width in widths}) > 1:
        raise PmdError("retention: the widths were ranked on different queries")
    right = torch.stack([ranks[width].realistic <= k for width in widths])  # (n, q)
    # From its first success on, a query stays right: as many successes as widths from there to the widest.
    first = right.int().argmax(0)
    answered = right.any(0)
    kept = right.sum(0) == len(widths) - first
    return (kept & answered).sum().item() / max(1, int(answered.sum())) if answered.any() else 1.0
