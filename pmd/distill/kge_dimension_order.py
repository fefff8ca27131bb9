"""The order of a trained model's dimensions by importance, for cropping it afterwards.

Two of the baselines of MED (Zhu et al., ACL 2025, 5.1.4): by the rise of the loss on validation triples when a dimension is
removed (Ext-L; Molchanov et al., 2017), and by its mean absolute value over entities and relations (Ext-V).

Example, TransE with norm l1 and two dimensions: a true triple with the terms (1, 3) and a negative with (2, 7) score −4 and
−9. Without the first dimension they score −3 and −7, without the second −1 and −2: the gap of 5 becomes 4 or 1, the loss is
larger without the second, and the order is 1, 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from pmd.core.devices import widest_float
from pmd.core.types import Target
from pmd.data.graphs.negatives import KgeBatch
from pmd.distill.kge_supervised import LabelLoss, batch_scores, comparisons, join_scores
from pmd.models.kge.kernels import grouped
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig

Order = Literal["loss", "value"]

MAX_TERMS = 2**22
"""Terms, of single dimensions of scores, that are held at a time."""


def dimension_order(model: KgeModel, by: Order, batches: Iterable[KgeBatch], options: LossConfig) -> Tensor:
    """(dim,) the dimensions of a model, the most important first.

    Args:
        by: `loss`: the label loss on `batches` without the dimension; `value`: its mean absolute value.
        batches: validation triples with what they are compared with, read one at a time, and for `loss` only.
        options: the label loss.
    """
    if by == "value":
        importance = sum(table.detach().abs().mean((0, 1)) for table in (model.entities, model.relations))
    else:
        importance = losses_without(model, batches, options)
    return importance.argsort(descending=True, stable=True)


@torch.no_grad()
def losses_without(model: KgeModel, batches: Iterable[KgeBatch], options: LossConfig) -> Tensor:
    """(dim,) the label loss without each of the dimensions, mean over the queries of all batches."""
    labels, total, queries = LabelLoss(options), torch.zeros(model.dim, dtype=torch.double), 0
    for batch in batches:
        losses = torch.stack([labels.hard(scores, batch) for scores in _scores_without(model, batch)])
        total += losses.cpu() * len(batch.triples)
        queries += len(batch.triples)
    return total / queries


def _scores_without(model: KgeModel, batch: KgeBatch) -> Iterator[Tensor]:
    """`batch_scores` by all dimensions but the first, then by all but the second, and so on."""
    if not model.has_running_sums:
        yield from _scores_with_zeros(model, batch)
        return
    # A term does not depend on the other dimensions: the sum of all is computed once, and each term subtracted from it.
    sampled = batch.sides[0].negatives is not None
    if sampled:
        compared = [
            (triples, target, model.entity_embeddings(entities)) for triples, target, entities in comparisons(batch)
        ]
    else:
        everyone = model.entities if batch.candidates is None else model.entity_embeddings(batch.candidates)
        compared = [(side.triples, side.target, everyone[None]) for side in batch.sides]
    term_functions = [_term_function(model, *comparison) for comparison in compared]
    numbers = sum(len(triples) * candidates.shape[1] for triples, _, candidates in compared)
    step = max(1, MAX_TERMS // numbers)
    blocks = [slice(start, min(start + step, model.dim)) for start in range(0, model.dim, step)]
    sums = [sum(terms(block).sum(-1) for block in blocks) for terms in term_functions]
    for block in blocks:
        block_terms = [terms(block) for terms in term_functions]
        for i in range(block.stop - block.start):
            scores = [model.interaction.reduce(total - terms[..., i]) for total, terms in zip(sums, block_terms)]
            yield join_scores(batch, scores) if sampled else torch.cat(scores)


def _term_function(model: KgeModel, triples: Tensor, target: Target, candidates: Tensor) -> Callable[[slice], Tensor]:
    """A function from dimensions to their terms (b, k, dims), in the widest precision of the device, for candidates (groups, k, parts, dim)
    that stand at `target` of triples (b, 3)."""
    h, r, t = model.embed(triples, target=target)
    known, r = (grouped(rows, len(candidates)) for rows in (h if target == "tail" else t, r))  # (g, m, parts, dim)
    interaction, target = model.interaction, model.asked_target(target)

    def terms(dims: slice) -> Tensor:
        query = interaction.query(known[..., dims], r[..., dims], target).unsqueeze(2)
        compared = interaction.candidate(candidates[..., dims].unsqueeze(1), r[..., dims].unsqueeze(2), target)
        return interaction.terms(query, compared).flatten(0, 1)[: len(triples)].to(widest_float(model.device))

    return terms


def _scores_with_zeros(model: KgeModel, batch: KgeBatch) -> Iterator[Tensor]:
    """As `_scores_without`, where lengths or projections depend on all dimensions: each is set to zero in the tables
    meanwhile, which adds nothing to either."""
    for dim in range(model.dim):
        columns = [table[..., dim] for table in (model.entities, model.relations)]
        values = [column.clone() for column in columns]
        for column in columns:
            column.zero_()
        scores = batch_scores(model, batch)
        for column, value in zip(columns, values):
            column.copy_(value)
        yield scores
