"""Masking tokens for the masked generation features (PMD, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_positions(input_ids: Tensor, rate: float | Tensor, special: Tensor, weights: Tensor | None = None) -> Tensor:
    """Draw a fraction of the ordinary tokens of each text, without replacement.

    Args:
        input_ids: (b, L) padded token ids.
        rate: fraction in [0, 1), or one (b, 1) for each text; of n ordinary tokens floor(rate · n + ½) are drawn.
        special: (s,) ids that are never drawn ([CLS], [SEP], padding).
        weights: (b, L) of the tokens: each draw takes one of the rest with a probability in proportion to its weight. By
            default all are as likely.

    Returns:
        (b, L) bool, true where a token is to be replaced by [MASK].
    """
    ordinary = ~torch.isin(input_ids, special)
    priority = torch.rand(input_ids.shape, device=input_ids.device)
    if (
        weights is not None
    ):  # the first of exponential clocks with these rates rings with these probabilities (Gumbel top-k)
        priority = -priority.clamp(min=1e-12).log() / weights.float().clamp(min=1e-9)
    priority = priority.masked_fill(~ordinary, float("inf"))
    rank = priority.argsort(dim=1).argsort(dim=1)
    count = (ordinary.sum(dim=1, keepdim=True) * rate + 0.5).floor()
    return (rank < count) & ordinary
