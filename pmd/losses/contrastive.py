"""InfoNCE with the negatives of SimKGC (Wang et al., ACL 2022, Eq. 3 and section 3.3). Stateless: logits in, a loss out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pmd.losses.kge import mean_over_rows

MASKED = -1e4
"""Logit of an entry that does not count: far below any real one, yet finite in half precision."""


def contrastive_loss(
    logits: Tensor,
    left_out: Tensor,
    *,
    head: Tensor | None = None,
    head_is_answer: Tensor | None = None,
    pre_batch: Tensor | None = None,
    pre_batch_left_out: Tensor | None = None,
    confidences: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each query's answer among the negatives, plus that of each answer's query.

    Args:
        logits: (b, b) of query i and entity j, margin subtracted; the answer of query i is entity i.
        left_out: (b, b) bool, true where entity j ≠ i is no negative of query i, such as another known answer.
        head: (b,) logits of each query's own head as an answer (self-negatives).
        head_is_answer: (b,) bool, true where that head is a known answer of its query.
        pre_batch: (b, p) logits of entities of earlier batches.
        pre_batch_left_out: (b, p) bool, likewise of such an entity.
        confidences: (b,) weights of the examples, of mean 1: of each query and of its answer. As a negative of others, an
            example counts in full.

    Returns:
        A scalar: the mean over rows (query → entity) plus the mean over columns (entity → query).
    """
    labels = torch.arange(len(logits), device=logits.device)
    logits = logits.masked_fill(left_out, MASKED)
    rows = [logits]
    if head is not None:
        rows.append(head.masked_fill(head_is_answer, MASKED).unsqueeze(1))
    if pre_batch is not None:
        rows.append(pre_batch.masked_fill(pre_batch_left_out, MASKED))

    def mean(table: Tensor) -> Tensor:
        if confidences is None:
            return cross_entropy(table, labels)
        return mean_over_rows(cross_entropy(table, labels, reduction="none"), confidences)

    return mean(torch.cat(rows, dim=1)) + mean(logits.T)
