"""The order of a trained model's dimensions by what they are worth, for those who crop it afterwards.

Two of the baselines of MED (Zhu et al., ACL 2025, 5.1.4): by the rise of the loss on validation triples when a dimension is
removed (Ext-L; Molchanov et al., 2017), and by its mean absolute value over entities and relations (Ext-V).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from pmd.core.types import Target
from pmd.data.graphs.negatives import KgeBatch
from pmd.distill.kge_supervised import LabelLoss, batch_scores, comparisons, joined
from pmd.models.kge.model import KgeModel, grouped
from pmd.settings.kge import LossConfig

Order = Literal["loss", "value"]

TERMS = 2**22
"""What single dimensions add to scores, so many numbers at a time."""


def dimension_order(model: KgeModel, by: Order, batches: Iterable[KgeBatch], options: LossConfig) -> Tensor:
    """(dim,) the dimensions of a model, the most important first.

    Args:
        by: `loss`: the rise of the label loss on `batches` without the dimension; `value`: its mean absolute value.
        batches: validation triples with what they are compared with; read for `loss` only, one at a time.
        options: the label loss.
    """
    if by == "value":
        worth = sum(table.detach().abs().mean((0, 1)) for table in (model.entities, model.relations))
    else:
        worth = losses_without(model, batches, options)
    return worth.argsort(descending=True, stable=True)


@torch.no_grad()
def losses_without(model: KgeModel, batches: Iterable[KgeBatch], options: LossConfig) -> Tensor:
    """(dim,) the label loss without each of the dimensions, the mean over the queries of all batches."""
    labels, total, queries = LabelLoss(options), torch.zeros(model.dim, dtype=torch.double), 0
    for batch in batches:
        losses = torch.stack([labels.hard(scores, batch) for scores in _scores_without(model, batch)])
        total += losses.cpu() * len(batch.triples)
        queries += len(batch.triples)
    return total / queries


def _scores_without(model: KgeModel, batch: KgeBatch) -> Iterator[Tensor]:
    """`batch_scores` without the first of the dimensions, then without the second, and so on: those of a model that has
    all the others."""
    if not model.has_running_sums:
        yield from _with_zeros(model, batch)
        return
    # What a dimension adds does not depend on the others: embeddings are read once, and no sum is formed anew.
    sampled = batch.sides[0].negatives is not None
    if sampled:
        compared = [
            (triples, target, model.entity_embeddings(entities)) for triples, target, entities in comparisons(batch)
        ]
    else:
        every = model.entities if batch.candidates is None else model.entity_embeddings(batch.candidates)
        compared = [(side.triples, side.target, every[None]) for side in batch.sides]
    parts = [_terms(model, *comparison) for comparison in compared]
    width = max(1, TERMS // sum(len(triples) * candidates.shape[1] for triples, _, candidates in compared))
    blocks = [slice(start, min(start + width, model.dim)) for start in range(0, model.dim, width)]
    whole = [sum(part(block).sum(-1) for block in blocks) for part in parts]
    for block in blocks:
        added = [part(block) for part in parts]
        for place in range(block.stop - block.start):
            scores = [model.interaction.reduce(of - own[..., place]) for of, own in zip(whole, added)]
            yield joined(batch, scores) if sampled else torch.cat(scores)


def _terms(model: KgeModel, triples: Tensor, target: Target, candidates: Tensor) -> Callable[[slice], Tensor]:
    """From dimensions to what they add for candidates (groups, k, parts, dim) in the place of `target`: (b, k, dims)."""
    h, r, t = model.embed(triples, target=target)
    known, r = (grouped(rows, len(candidates)) for rows in (h if target == "tail" else t, r))  # (g, m, parts, dim)
    interaction, place = model.interaction, "tail" if model.reciprocal else target

    def terms(dims: slice) -> Tensor:
        query = interaction.query(known[..., dims], r[..., dims], place).unsqueeze(2)
        seen = interaction.candidate(candidates[..., dims].unsqueeze(1), r[..., dims].unsqueeze(2), place)
        return interaction.terms(query, seen).flatten(0, 1)[: len(triples)].double()

    return terms


def _with_zeros(model: KgeModel, batch: KgeBatch) -> Iterator[Tensor]:
    """The same where lengths or projections depend on all dimensions: a dimension of zeros adds nothing to either."""
    for dim in range(model.dim):
        columns = [table[..., dim] for table in (model.entities, model.relations)]
        kept = [column.clone() for column in columns]
        for column in columns:
            column.zero_()
        scores = batch_scores(model, batch)
        for column, values in zip(columns, kept):
            column.copy_(values)
        yield scores
