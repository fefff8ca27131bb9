"""What MED (Zhu et al., ACL 2025) adds to the losses of embedding models: weights and agreement between neighbouring widths.

Tensors are (n, …), an entry for each sub-model, narrowest first. Logits of sampled negatives are (n, b, 1 + k), the true
triple first. Losses are computed for a few widths at a time, with hand-written gradients: a table of all widths does not fit
into the cache of a CPU, and every operation on it would be a pass through the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid, softmax

from pmd.core.distributed import all_gather, sum_over_processes, world_size

BLOCK = 2**18
"""Logits that are computed at a time on a CPU: few enough for its cache."""

FLOOR = 0.1
"""Probabilities below this count as this much in the bounded weights of true triples."""

NEAREST = 1e-3
"""Distances below this count as this much in the literal weights of true triples: 1 / 0 is not finite."""


def _positive_weights(
    narrower: Tensor, w1: Tensor | float, confidences: Tensor | None = None, scores: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Weights (m, b) of a batch's true triples from the logits (m, b) of the narrower neighbours (Eq. 3), and the doubts
    (m, b) that w1 is multiplied by: the weights are softmax(w1 · doubt).

    A triple weighs the more, the less the neighbour believes in it. The paper's doubt is 1 / score. That is taken where
    `scores` (m, b) are given: those of distances, below zero. Scores of products pass zero, where it leaps from −∞ to ∞; for
    them the doubt is 1 / σ(logit), with σ(logit) at least `FLOOR`: positive and bounded.

    Example: for logits (2, −1) the doubts are 1 / 0.88 = 1.14 and 1 / 0.27 = 3.72, so with w1 = 0.5 the weights are
    e^0.57 and e^1.86 by their sum: 0.22 and 0.78. With the confidences (4, 1) they are 4·e^0.57 and e^1.86 by their sum.
    For the scores (−1, −4) the doubts are −1 and −0.25, and the weights e^−0.5 and e^−0.125 by their sum: 0.41 and 0.59.
    """
    doubt = _doubt(narrower, scores)
    return _weighted_softmax(w1 * doubt, confidences), doubt


def _doubt(narrower: Tensor, scores: Tensor | None) -> Tensor:
    """1 / score (m, b) where there are scores, else 1 / σ(logit)."""
    return 1 / (narrower.sigmoid().clamp(min=FLOOR) if scores is None else scores.clamp(max=-NEAREST))


def _negative_weights(
    narrower: Tensor, w2: Tensor | float, false: Tensor | None, confidences: Tensor | None = None
) -> Tensor:
    """Weights (m, b, k) of a batch's negatives from the logits (m, b, k) of the narrower neighbours (Eq. 4).

    A negative weighs the more, the higher the neighbour scores it and the higher the confidence of its triple. Those marked
    `false` (b, k) are known answers and weigh nothing; where all are, all weights are 0.
    """
    scores = w2 * narrower
    if false is not None:
        scores = scores.masked_fill(false, -torch.inf)
    if confidences is not None:
        confidences = confidences[:, None].expand(scores.shape[1:]).flatten()
    weights = _weighted_softmax(scores.flatten(1), confidences).view_as(scores)
    return weights if false is None else weights.nan_to_num(0.0)


def _weighted_softmax(scores: Tensor, confidences: Tensor | None) -> Tensor:
    """confidence · exp(score) by their sum over a row of scores (m, c): a confidence of 2 counts as two entries, 0 as none."""
    if confidences is None:
        return softmax(scores, dim=-1)
    return softmax(scores + confidences.log().to(scores.dtype), dim=-1).nan_to_num(0.0)


def evolutionary_loss(
    logits: Tensor,
    w1: Tensor | float,
    w2: Tensor | float,
    false: Tensor | None = None,
    confidences: Tensor | None = None,
    scores: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of σ(logit) of each sub-model (n,), weighted by its narrower neighbour (Eq. 5).

    Weights of the narrowest are even. No gradient reaches a neighbour through the weights. The weights are of the rows of all
    processes; the mean over processes of the result, and of its gradients, is that of a single process with all rows.

    Args:
        logits: (n, b, 1 + k), the true triple first.
        w1, w2: scalars of the weights of true triples and of negatives.
        false: (b, k) bool, negatives that are known answers.
        confidences: (b,) of the triples; they multiply the exponentials, of true triples and of their negatives, whose sums
            the weights are shares of.
        scores: (n, b) of the true triples by a distance, all below zero: the weights are then those that Eq. 3 writes, and
            else bounded ones, from the logits.
    """
    w1, w2 = (torch.as_tensor(w, dtype=logits.dtype, device=logits.device) for w in (w1, w2))
    return _Evolution.apply(logits, w1, w2, false, confidences, None if scores is None else scores.detach())


class _Evolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        w1: Tensor,
        w2: Tensor,
        false: Tensor | None,
        confidences: Tensor | None,
        scores: Tensor | None,
    ) -> Tensor:
        slopes = torch.empty_like(logits)
        # Of each sub-model: the weighted losses of true triples and of negatives, their products with what w1 and w2 are
        # multiplied by, and the weighted means of that.
        sums = logits.new_zeros(6, len(logits))
        shares = _shares(logits, w1, w2, false, confidences, scores)
        for block in _width_blocks(logits):
            own, (narrower, narrower_scores) = logits[block], _narrower(logits, scores, block)
            positives, negatives = own[..., 0], own[..., 1:]
            # Losses: −log σ(x) of true triples, −log σ(−x) of negatives.
            positive, negative = -logsigmoid(positives), -logsigmoid(-negatives)
            positive_weight, doubt = _positive_weights(narrower[..., 0], w1, confidences, narrower_scores)
            negative_weight = _negative_weights(narrower[..., 1:], w2, false, confidences)
            if shares is not None:
                positive_weight = positive_weight * shares[0, block, None]
                negative_weight = negative_weight * shares[1, block, None, None]
            # Their slopes: −σ(−x) and σ(x), times the weight.
            slopes[block, :, 0] = -positive_weight * (-positives).sigmoid()
            torch.mul(negative_weight, negatives.sigmoid(), out=slopes[block, :, 1:])
            # From here on in place: losses become weighted losses, weights become weighted doubts and logits.
            positive, sums[4, block] = positive.mul_(positive_weight), positive_weight.mul_(doubt).sum(1)
            sums[1, block] = negative.mul_(negative_weight).sum((1, 2))
            sums[0, block] = positive.sum(1)
            sums[2, block] = (positive * doubt).sum(1)
            sums[5, block] = negative_weight.mul_(narrower[..., 1:]).sum((1, 2))
            sums[3, block] = negative.mul_(narrower[..., 1:]).sum((1, 2))
        if shares is not None:  # the mean over processes of so many times each one's part is the sum of all
            slopes, sums[:4] = slopes * world_size(), sums[:4] * world_size()
            sums[4:] = sum_over_processes(sums[4:])
        losses = sums[0] + sums[1]
        # d/dw Σ softmax(w·x)·l = Σ p·x·l − Σ p·x · Σ p·l: the mean of the products less the product of the means.
        ctx.save_for_backward(slopes, sums[2] - sums[4] * sums[0], sums[3] - sums[5] * sums[1])
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        slopes, w1_slopes, w2_slopes = ctx.saved_tensors
        return slopes * gradient[:, None, None], w1_slopes @ gradient, w2_slopes @ gradient, None, None, None


def _narrower(logits: Tensor, scores: Tensor | None, block: slice) -> tuple[Tensor, Tensor | None]:
    """The logits, and scores of true triples, of the narrower neighbours of a block of sub-models. The narrowest, a block by
    itself, has none: equal logits, or scores, give even weights."""
    if block.start == 0:
        return torch.zeros_like(logits[block]), None if scores is None else -torch.ones_like(scores[block])
    before = slice(block.start - 1, block.stop - 1)
    return logits[before], None if scores is None else scores[before]


def _shares(
    logits: Tensor,
    w1: Tensor,
    w2: Tensor,
    false: Tensor | None,
    confidences: Tensor | None,
    scores: Tensor | None,
) -> Tensor | None:
    """(2, n) the shares that this process has of the exponentials of all, those of true triples and those of negatives: its
    weights, which sum to 1 over its own rows, times these sum to 1 over the rows of all. None for a single process."""
    if world_size() == 1:
        return None
    own = logits.new_empty(2, len(logits))
    for block in _width_blocks(logits):
        narrower, narrower_scores = _narrower(logits, scores, block)
        positives = w1 * _doubt(narrower[..., 0], narrower_scores)
        negatives = w2 * narrower[..., 1:]
        if false is not None:
            negatives = negatives.masked_fill(false, -torch.inf)
        if confidences is not None:
            positives, negatives = positives + confidences.log(), negatives + confidences.log()[:, None]
        own[0, block], own[1, block] = positives.logsumexp(1), negatives.flatten(1).logsumexp(1)
    return (own - all_gather(own[None]).logsumexp(0)).exp().nan_to_num(0.0)


def mutual_loss(scores: Tensor) -> Tensor:
    """Huber distance (δ = 1) between the scores (n, b, 1 + k) of neighbouring widths, mean over all: a scalar (Eq. 2).

    Both neighbours learn. A single width has none: its loss is 0.

    Example: two widths that score one triple 0 and 0.5, another 3 and 1, are 0.5 and 2 apart: (½·0.5² + (2 − ½)) / 2 = 0.81.
    """
    return _Mutual.apply(scores)


class _Mutual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        ctx.save_for_backward(scores)
        total = scores.new_zeros(())
        for block in _width_blocks(scores[1:]):
            difference = scores[1:][block] - scores[:-1][block]
            clipped = difference.clamp(-1, 1)
            # c·(x − c/2) with c = x clipped to ±1: ½x² up to 1, |x| − ½ beyond.
            total += difference.sub_(clipped, alpha=0.5).mul_(clipped).sum()
        return total / max(1, scores[1:].numel())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (scores,) = ctx.saved_tensors
        slopes, factor = torch.zeros_like(scores), gradient / max(1, scores[1:].numel())
        for block in _width_blocks(scores[1:]):
            slope = (scores[1:][block] - scores[:-1][block]).clamp_(-1, 1).mul_(factor)
            slopes[1:][block] += slope
            slopes[:-1][block] -= slope
        return slopes


def _width_blocks(x: Tensor) -> Iterator[slice]:
    """Blocks of the n widths, the first by itself; on a CPU of no more than BLOCK numbers, elsewhere all the others at once."""
    step = len(x) if x.device.type != "cpu" else max(1, BLOCK // max(1, x[:1].numel()))
    starts = [0, *range(1, len(x), max(1, step))]
    return (slice(start, end) for start, end in zip(starts, [*starts[1:], len(x)]) if start < end)
