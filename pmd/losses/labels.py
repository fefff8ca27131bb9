"""The loss of a classifier, or of a regression, on labels. Stateless: logits and labels in, numbers out."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over a batch, for each of n models (n,), from their logits (n, b, C).

    Args:
        labels: (b,) class ids: cross-entropy; or floats, for which C is 1: squared error.
    """
    if labels.is_floating_point():
        return (logits[..., 0] - labels).square().mean(-1)
    n, b, _ = logits.shape
    return cross_entropy(logits.flatten(0, 1), labels.repeat(n), reduction="none").view(n, b).mean(-1)
