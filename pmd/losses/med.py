"""What MED (Zhu et al., ACL 2025) adds to the losses of embedding models: weights and agreement between neighbouring widths.

Everything is (n, …): one entry for each sub-model, narrowest first. Logits of sampled negatives are (n, b, 1 + k), the true
triple first. The losses go over a few widths at a time and know their own gradients: a table of all widths is too large for
the cache of a CPU, and every operation on it would be a pass through the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid, softmax

NEVER = float("-inf")

BLOCK = 2**18
"""Logits that are looked at at a time on a CPU: few enough for its cache."""

FLOOR = 0.1
"""The least belief in a true triple that its weight tells apart."""


def positive_weights(logits: Tensor, w1: Tensor | float) -> Tensor:
    """Weights (n, b) of a batch's true triples for each sub-model, from the logits (n, b) of all (Eq. 3).

    A triple weighs the more the less its narrower neighbour believes in it; even for the narrowest. The paper
    divides by the score, which is negative for a distance and passes zero for a product. Here it is the
    neighbour's probability σ(logit), no less than `FLOOR`: positive and bounded for every input. No gradient
    reaches the neighbour.
    """
    weights = _of_positives(logits[:-1].detach(), w1)[0]
    return torch.cat([torch.full_like(logits[:1], 1 / logits.shape[-1]), weights])


def negative_weights(logits: Tensor, w2: Tensor | float, false: Tensor | None = None) -> Tensor:
    """Weights (n, b, k) of a batch's negatives for each sub-model, from the logits (n, b, k) of all (Eq. 4).

    A negative weighs the more the higher the narrower neighbour scores it; even for the narrowest. Those marked
    `false` (b, k) are known answers and get none; where all are, nothing weighs anything.
    """
    first = _of_negatives(torch.zeros_like(logits[:1]), w2, false)
    return torch.cat([first, _of_negatives(logits[:-1].detach(), w2, false)])


def _of_positives(narrower: Tensor, w1: Tensor | float) -> tuple[Tensor, Tensor]:
    """Logits (m, b) of the narrower neighbours -> weights (m, b), and what w1 is multiplied by in them."""
    doubt = 1 / narrower.sigmoid().clamp(min=FLOOR)
    return softmax(w1 * doubt, dim=-1), doubt


def _of_negatives(narrower: Tensor, w2: Tensor | float, false: Tensor | None) -> Tensor:
    """Logits (m, b, k) of the narrower neighbours -> weights (m, b, k)."""
    scores = w2 * narrower
    if false is not None:
        scores = scores.masked_fill(false, NEVER)
    weights = softmax(scores.flatten(1), dim=-1).view_as(scores)
    return weights if false is None else weights.nan_to_num(0.0)


def evolutionary_loss(logits: Tensor, w1: Tensor | float, w2: Tensor | float, false: Tensor | None = None) -> Tensor:
    """The cross-entropy of σ(logit) of each sub-model (n,), weighted by its narrower neighbour (Eq. 5)."""
    w1, w2 = (torch.as_tensor(w, dtype=logits.dtype, device=logits.device) for w in (w1, w2))
    return _Evolution.apply(logits, w1, w2, false)


class _Evolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, w1: Tensor, w2: Tensor, false: Tensor | None) -> Tensor:
        losses, slopes = logits.new_empty(len(logits)), torch.empty_like(logits)
        by_w1, by_w2 = torch.zeros_like(losses), torch.zeros_like(losses)
        for some in _pieces(logits):
            own, narrower = logits[some], logits[some.start - 1 : some.stop - 1]
            if some.start == 0:  # of the narrowest all weigh the same
                narrower = torch.zeros_like(own)
            # −log σ(x) of true triples, −log σ(−x) = −log σ(x) + x of the others
            true, rest = own[..., 0], own[..., 1:]
            hard_true, hard_rest = -logsigmoid(true), -logsigmoid(-rest)
            weight_true, doubt = _of_positives(narrower[..., 0], w1)
            weight_rest = _of_negatives(narrower[..., 1:], w2, false)
            slopes[some, :, 0] = -weight_true * (-true).sigmoid()
            torch.mul(weight_rest, rest.sigmoid(), out=slopes[some, :, 1:])
            positive, doubted = hard_true.mul_(weight_true), weight_true.mul_(doubt).sum(1)
            negative = hard_rest.mul_(weight_rest).sum((1, 2))
            losses[some] = positive.sum(1) + negative
            # The derivative of a softmax's mean: the mean of the products less the product of the means.
            by_w1[some] = (positive * doubt).sum(1) - doubted * positive.sum(1)
            believed = weight_rest.mul_(narrower[..., 1:]).sum((1, 2))
            by_w2[some] = hard_rest.mul_(narrower[..., 1:]).sum((1, 2)) - believed * negative
        ctx.save_for_backward(slopes, by_w1, by_w2)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        slopes, by_w1, by_w2 = ctx.saved_tensors
        return slopes * gradient[:, None, None], by_w1 @ gradient, by_w2 @ gradient, None


def mutual_loss(scores: Tensor) -> Tensor:
    """Huber distance (δ = 1) between the scores (n, b, 1 + k) of neighbours, mean over all (Eq. 2).

    Both learn from each other. A single width has no neighbour, and a loss of 0.
    """
    return _Mutual.apply(scores)


class _Mutual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        ctx.save_for_backward(scores)
        total = scores.new_zeros(())
        for some in _pieces(scores[1:]):
            difference = scores[1:][some] - scores[:-1][some]
            clipped = difference.clamp(-1, 1)
            total += difference.sub_(clipped, alpha=0.5).mul_(clipped).sum()
        return total / max(1, scores[1:].numel())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (scores,) = ctx.saved_tensors
        slopes, factor = torch.zeros_like(scores), gradient / max(1, scores[1:].numel())
        for some in _pieces(scores[1:]):
            pull = (scores[1:][some] - scores[:-1][some]).clamp_(-1, 1).mul_(factor)
            slopes[1:][some] += pull
            slopes[:-1][some] -= pull
        return slopes


def _pieces(x: Tensor) -> Iterator[slice]:
    """A few of the n widths at a time, the narrowest by itself; on other devices all at once."""
    step = len(x) if x.device.type != "cpu" else max(1, BLOCK // max(1, x[:1].numel()))
    starts = [0, *range(1, len(x), max(1, step))]
    return (slice(start, end) for start, end in zip(starts, [*starts[1:], len(x)]) if start < end)
