"""Does a wide sub-model still know what a narrow one knew? The ability retention ratio of MED (Zhu et al., ACL 2025, 5.6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from pmd.core.errors import PmdError

Retained = tuple[int, int]
"""How many queries a width was the first to answer, and how many of those all wider ones answer too."""


def retained(ranks: Mapping[int, Tensor], k: int = 10) -> dict[int, Retained]:
    """By width, of the queries that this width, and none narrower, answers within the first k: how many, and how many of
    them all wider ones answer too.

    Example: of ranks {10: (1, 2), 20: (1, 50), 40: (5, 3)} both queries are first answered at width 10, and 20 loses the
    second: {10: (2, 1), 20: (0, 0), 40: (0, 0)}.

    The widest has none above it, so all that it is the first to answer is kept. The ratio over all widths therefore flatters
    models whose narrow widths know little; the counts by width show that.

    Args:
        ranks: (q,) realistic ranks of the same queries, by width.

    Raises:
        PmdError: for no width at all, or ranks of different queries.
    """
    if not ranks:
        raise PmdError("retention: no ranks; rank at least one width")
    widths = sorted(ranks)
    if len({len(ranks[width]) for width in widths}) > 1:
        raise PmdError("retention: the widths were ranked on different queries; rank all on the same split")
    right = torch.stack([ranks[width] <= k for width in widths])  # (n, q)
    right = right[:, right.any(0)]  # (n, answered)
    # Kept: as many successes as there are widths from the first success to the widest.
    first_width = right.int().argmax(0) if right.numel() else torch.zeros(0, dtype=torch.long)
    is_kept = right.sum(0) == len(widths) - first_width
    answered, kept = (chosen.bincount(minlength=len(widths)).tolist() for chosen in (first_width, first_width[is_kept]))
    return dict(zip(widths, zip(answered, kept)))


def retention_ratio(counts: Iterable[Retained]) -> float:
    """The ability retention ratio: kept by answered, over all counts, in [0, 1]; 1 where nothing was answered."""
    answered, kept = (sum(part) for part in zip(*counts))
    return kept / answered if answered else 1.0
