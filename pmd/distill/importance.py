"""The order of a trained model's dimensions by what they are worth, for those who crop it afterwards.

Two of the baselines of MED (Zhu et al., ACL 2025, 5.1.4): by the rise of the loss on validation triples when a dimension is
removed (Ext-L; Molchanov et al., 2017), and by its mean absolute value over entities and relations (Ext-V).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pmd.core.kge_config import LossConfig
from pmd.data.triples import KgeBatch
from pmd.distill.kge import LabelLoss, batch_scores
from pmd.models.kge import KgeModel

Order = Literal["loss", "value"]


@torch.no_grad()
def dimension_order(model: KgeModel, by: Order, batch: KgeBatch, options: LossConfig) -> Tensor:
    """(dim,) the dimensions of a model, the most important first.

    Args:
        by: `loss`: the rise of the label loss on `batch` without the dimension; `value`: its mean absolute value.
        batch: validation triples with what they are compared with; read for `loss` only.
        options: the label loss.
    """
    if by == "value":
        worth = sum(table.abs().mean((0, 1)) for table in (model.entities, model.relations))
    else:
        labels, every = LabelLoss(options), torch.arange(model.dim)
        without = (model.select(every[every != dim]) if model.dim > 1 else model for dim in every)  # one at a time
        worth = torch.stack([labels.hard(batch_scores(less, batch), batch) for less in without])
    return worth.argsort(descending=True, stable=True)
