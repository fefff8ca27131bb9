"""What MED (Zhu et al., ACL 2025) adds to the losses of embedding models: weights and agreement between neighbouring widths.

Everything is (n, …): one entry for each sub-model, narrowest first. Logits of sampled negatives are (n, b, 1 + k), the true
triple first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, logsigmoid, softmax

NEVER = float("-inf")

FLOOR = 0.1
"""The least belief in a true triple that its weight tells apart."""


def positive_weights(logits: Tensor, w1: Tensor | float) -> Tensor:
    """Weights (n, b) of a batch's true triples for each sub-model, from the logits (n, b) of all (Eq. 3).

    A triple weighs the more the less its narrower neighbour believes in it; even for the narrowest. The paper
    divides by the score, which is negative for a distance and passes zero for a product. Here it is the
    neighbour's probability σ(logit), no less than `FLOOR`: positive and bounded for every input. No gradient
    reaches the neighbour.
    """
    belief = logits[:-1].detach().sigmoid().clamp(min=FLOOR)
    return _after_the_first(softmax(w1 / belief, dim=-1), logits)


def negative_weights(logits: Tensor, w2: Tensor | float, false: Tensor | None = None) -> Tensor:
    """Weights (n, b, k) of a batch's negatives for each sub-model, from the logits (n, b, k) of all (Eq. 4).

    A negative weighs the more the higher the narrower neighbour scores it; even for the narrowest. Those marked
    `false` (b, k) are known answers and get none; where all are, nothing weighs anything.
    """
    scores = w2 * logits.detach()
    scores = torch.cat([torch.zeros_like(scores[:1]), scores[:-1]])
    if false is not None:
        scores = scores.masked_fill(false, NEVER)
    return softmax(scores.flatten(1), dim=-1).nan_to_num(0.0).view_as(scores)


def _after_the_first(weights: Tensor, like: Tensor) -> Tensor:
    return torch.cat([torch.full_like(like[:1], 1 / like.shape[-1]), weights])


def evolutionary_loss(logits: Tensor, w1: Tensor | float, w2: Tensor | float, false: Tensor | None = None) -> Tensor:
    """The cross-entropy of σ(logit) of each sub-model (n,), weighted by its narrower neighbour (Eq. 5)."""
    positive = positive_weights(logits[..., 0], w1) * logsigmoid(logits[..., 0])
    negative = negative_weights(logits[..., 1:], w2, false) * logsigmoid(-logits[..., 1:])
    return -(positive.sum(1) + negative.sum((1, 2)))


def mutual_loss(scores: Tensor) -> Tensor:
    """Huber distance (δ = 1) between the scores (n, b, 1 + k) of neighbours, mean over all (Eq. 2).

    Both learn from each other.
    """
    return huber_loss(scores[1:], scores[:-1])
