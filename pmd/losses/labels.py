"""The loss of a classifier or a regression on labels. Stateless: logits and labels in, losses out."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over a batch for each of n models, (n,): cross-entropy, or squared error where labels are floats.

    Args:
        logits: (n, b, C); C is 1 for a regression.
        labels: (b,) class ids, or floats.
    """
    if labels.is_floating_point():
        return (logits[..., 0] - labels).square().mean(-1)
    n, b, _ = logits.shape
    return cross_entropy(logits.flatten(0, 1), labels.repeat(n), reduction="none").view(n, b).mean(-1)
