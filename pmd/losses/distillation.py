"""What a student learns from a teacher. Stateless: the student's numbers and the teacher's in, a loss out."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, mse_loss, normalize


def score_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of two logit matrices of one shape: a scalar (PMD, Eq. 5)."""
    return mse_loss(student, teacher)


def feature_errors(student: Tensor, teacher: Tensor, norm: Literal["mean", "sum"] = "mean") -> Tensor:
    """Squared errors of features (m, d) at masked positions: (m,), averaged or summed over the width.

    Eq. 2 of PMD writes the norm of a difference, whose square is the `sum`, d times the `mean`.
    """
    squares = (student - teacher).square()
    return squares.sum(-1) if norm == "sum" else squares.mean(-1)


def softened_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL divergence of softened rows of logits (b, c), times temperature²: a scalar (Hinton et al., 2015)."""
    student, teacher = (log_softmax(logits / temperature, dim=-1) for logits in (student, teacher))
    return kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def two_way_softened_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`softened_loss` over rows (query → entity) plus columns (entity → query) of (b, b) logits, as in InfoNCE."""
    return softened_loss(student, teacher, temperature) + softened_loss(student.T, teacher.T, temperature)


def off_diagonal(matrix: Tensor) -> Tensor:
    """The rows (n, n) of a matrix without its diagonal: (n, n − 1)."""
    n = len(matrix)
    return matrix.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


def similarity_errors(student: Tensor, teacher: Tensor, temperature: float | None = None) -> Tensor:
    """How far the similarities (n, n) of a student's texts are from those of its teacher's, each text with itself left out.

    With a temperature the KL divergences of their softened rows, times temperature²: (n,). Without, the squared errors:
    (n, n − 1).
    """
    student, teacher = off_diagonal(student), off_diagonal(teacher)
    if temperature is None:
        return (student - teacher).square()
    student, teacher = (log_softmax(rows / temperature, dim=-1) for rows in (student, teacher))
    return kl_div(student, teacher, reduction="none", log_target=True).sum(-1) * temperature**2


def patient_errors(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distances of L2-normalised layer features (n, d): (n,) (PKD, Sun et al. 2019, Eq. 7)."""
    return (normalize(student, dim=-1) - normalize(teacher, dim=-1)).square().sum(-1)


def patient_layers(student: int, teacher: int) -> dict[int, int]:
    """PKD-Skip: for each layer of the student but the last, the layer of the teacher that it follows, evenly spaced.

    Layers count from 1; the logits of both models compare their last ones. Example: 3 of 12 layers give {1: 4, 2: 8}.
    """
    return {layer: layer * teacher // student for layer in range(1, student)}
