"""Masking tokens for the masked generation features (PMD, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_positions(input_ids: Tensor, rate: float, special: Tensor) -> Tensor:
    """Draw a fraction of the ordinary tokens of each text, without replacement.

    Args:
        input_ids: (b, L) padded token ids.
        rate: fraction in [0, 1); of n ordinary tokens floor(rate · n + ½) are drawn.
        special: (s,) ids that are never drawn ([CLS], [SEP], padding).

    Returns:
        (b, L) bool, true where a token is to be replaced by [MASK].
    """
    ordinary = ~torch.isin(input_ids, special)
    priority = torch.rand(input_ids.shape, device=input_ids.device).masked_fill(~ordinary, 2.0)
    rank = priority.argsort(dim=1).argsort(dim=1)
    count = (ordinary.sum(dim=1, keepdim=True) * rate + 0.5).floor()
    return (rank < count) & ordinary
