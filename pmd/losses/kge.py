"""Losses of embedding models on matrices of scores. Stateless: scores in, a loss out.

Scores with sampled negatives are (b, 1 + k): the true triple first, then its negatives; `weights` (b, k) say how
much each negative counts and sum to 1 in a row. Higher scores are more plausible; a distance comes as its
negative. All losses are means over rows: the mean over processes with equally many rows is the global loss.

The losses on labels take the `confidences` (b,) of the triples, of mean 1, as weights of the rows: the mean is then over their
sum. What a teacher says of a triple (`soft_…`) and the regularisers do not depend on them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid, relu, softmax


def negative_weights(scores: Tensor, false: Tensor | None = None, temperature: float = 0.0) -> Tensor:
    """Weights (b, k) of negatives from their scores (b, k).

    With a temperature they are self-adversarial, softmax(temperature · score), without gradient (Sun et al., ICLR
    2019, Eq. 5); without, even. Negatives marked `false` (b, k) weigh nothing; where all of a row are, its weights are 0.
    """
    logits = scores.detach() * temperature if temperature else torch.zeros_like(scores)
    if false is None:
        return softmax(logits, dim=-1)
    return softmax(logits.masked_fill(false, -torch.inf), dim=-1).nan_to_num(0.0)


def mean_over_rows(values: Tensor, confidences: Tensor | None = None) -> Tensor:
    """The mean of values (b,), weighted by `confidences` (b,) of mean 1."""
    return (values if confidences is None else values * confidences).mean()


def margin_loss(scores: Tensor, weights: Tensor, margin: float, confidences: Tensor | None = None) -> Tensor:
    """Mean of [γ − s(true) + s(negative)]₊ (Eq. 1 of DistilE; Bordes et al., 2013)."""
    return mean_over_rows((relu(margin - scores[:, :1] + scores[:, 1:]) * weights).sum(-1), confidences)


def logistic_loss(logits: Tensor, weights: Tensor, confidences: Tensor | None = None) -> Tensor:
    """Cross-entropy of σ(logit) with the labels 1 and 0, true triples and negatives half each (Sun et al., Eq. 6)."""
    return balanced(-torch.cat([logsigmoid(logits[:, :1]), logsigmoid(-logits[:, 1:])], dim=1), weights, confidences)


def softmax_loss(logits: Tensor, false: Tensor | None = None, confidences: Tensor | None = None) -> Tensor:
    """Cross-entropy of the softmax over the true triple and its negatives; those marked `false` (b, k) are left out."""
    if false is not None:
        logits = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(false, -torch.inf)], dim=1)
    return -mean_over_rows(logits.log_softmax(-1)[:, 0], confidences)


def one_vs_all_loss(
    logits: Tensor, answers: Tensor, label_smoothing: float = 0.0, confidences: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the softmax over all entities, (b, n), with the answers (b,) (Lacroix et al., ICML 2018)."""
    if confidences is None:
        return cross_entropy(logits, answers, label_smoothing=label_smoothing)
    losses = cross_entropy(logits, answers, label_smoothing=label_smoothing, reduction="none")
    return mean_over_rows(losses, confidences)


def k_vs_all_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, confidences: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of every entity, (b, n); labels (2, m) are row and column of the true ones.

    Smoothed labels are (1 − ε)·label + ε / n (Dettmers et al., AAAI 2018). The `confidences` (m,), of mean 1, weigh the
    entries of the true ones; the other entries count in full.
    """
    targets = torch.full_like(logits, label_smoothing / logits.shape[1])
    targets[labels[0], labels[1]] += 1 - label_smoothing
    entry_weights = None
    if confidences is not None:
        entry_weights = torch.ones_like(logits)
        entry_weights[labels[0], labels[1]] = confidences.to(logits.dtype)
    return binary_cross_entropy_with_logits(logits, targets, entry_weights)


def balanced(values: Tensor, weights: Tensor, confidences: Tensor | None = None) -> Tensor:
    """Of values (b, 1 + k), the mean over rows of the true triple's and of the weighted sum of its negatives', half each."""
    return mean_over_rows(values[:, 0] + (values[:, 1:] * weights).sum(-1), confidences) / 2


def soft_score_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Absolute difference of the scores (b, 1 + k) (Eq. 4 of DistilE), `balanced`. No gradient reaches the teacher."""
    return balanced((student - teacher.detach()).abs(), weights)


def soft_label_loss(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of σ(student) with σ(teacher) as labels (Eq. 8 of DistilE), from logits (b, columns).

    `balanced` with weights, else the mean over all. No gradient reaches the teacher.
    """
    target = teacher.detach().sigmoid()
    if weights is None:
        return binary_cross_entropy_with_logits(student, target)
    return balanced(binary_cross_entropy_with_logits(student, target, reduction="none"), weights)


def soft_softmax_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of the student's softmax with the teacher's as labels, from logits (b, columns): a row is one choice.

    No gradient reaches the teacher.
    """
    return cross_entropy(student, softmax(teacher.detach(), dim=-1))


def n3(*factors: Tensor, complex_parts: bool) -> Tensor:
    """Σ |x|³ over the factors (b, parts, dim) of a triple, mean over triples (Lacroix et al., ICML 2018, Eq. 4).

    With `complex_parts` the parts are real and imaginary, and |x| is the modulus.
    """
    moduli = [torch.linalg.vector_norm(x, dim=-2) if complex_parts else x.abs() for x in factors]
    return sum(modulus.pow(3).flatten(1).sum(1) for modulus in moduli).mean()


def longer_than_one(entities: Tensor) -> Tensor:
    """Mean of [‖e‖² − 1]₊ over entities (b, parts, dim) (Wang et al., AAAI 2014, Eq. 4)."""
    return relu(entities.square().sum((-1, -2)) - 1).mean()


def out_of_plane(normal: Tensor, translation: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of [(w·d)² / ‖d‖² − ε²]₊ over relations (b, dim), w scaled to length 1 (Wang et al., AAAI 2014, Eq. 4)."""
    cosine = torch.cosine_similarity(normal, translation, dim=-1)
    return relu(cosine.square() - epsilon**2).mean()
