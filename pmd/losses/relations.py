"""What a student learns from relations within its teacher: of the tokens of a text, or of the texts of a batch. Stateless.

Relations do not have the width of a model, so teacher and student may differ in theirs without a projection between them.
"""

from __future__ import annotations

import torch
from torch import Tensor, autocast
from torch.nn.functional import log_softmax, normalize, smooth_l1_loss


def token_relations(left: Tensor, right: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Logarithms of the scaled dot-product relations of tokens (MiniLM, Wang et al., NeurIPS 2020).

    Queries and keys give attention distributions (Eq. 5), values and values the value relation (Eq. 6).

    Args:
        left, right: (b, L, w), split into `heads` of equal size.
        mask: (b, L), 1 for real tokens; no token has a relation to the others.

    Returns:
        (b, heads, L, L): each row the log-probabilities over the tokens.
    """
    left, right = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (left, right))  # (b, heads, L, size)
    with autocast(left.device.type, enabled=False):  # half precision loses small divergences
        products = left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5
    return log_softmax(products.masked_fill(mask[:, None, None, :] == 0, -1e4), dim=-1)


def relation_errors(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher ‖ student) of relations (b, heads, L, L): (m,), one for every head and real token."""
    each = (teacher.exp() * (teacher - student)).sum(-1)  # (b, heads, L)
    return each[mask[:, None, :].expand_as(each).bool()]


def distances(vectors: Tensor) -> Tensor:
    """Distances (n, n) between vectors (n, d), in units of their mean (RKD, Park et al., CVPR 2019, Eq. 5-6)."""
    distance = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    apart = distance > 0
    return distance / (distance[apart].mean() if apart.any() else 1.0)


def angles(vectors: Tensor) -> Tensor:
    """Cosines (n, n, n), at [j, i, k] of the angle at vector j between vectors i and k of (n, d) (RKD, Eq. 8)."""
    directions = normalize(vectors[None] - vectors[:, None], dim=-1)  # (j, i, d)
    with autocast(vectors.device.type, enabled=False):
        return directions @ directions.transpose(1, 2)


def agreement(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber distance (δ = 1) between relations of the same shape, mean over all (RKD, Eq. 7 and 9)."""
    return smooth_l1_loss(student, teacher)
