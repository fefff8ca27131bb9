"""Trained embeddings as a matrix of numbers for each entity, at any width."""

from __future__ import annotations

import torch
from torch import Tensor

from pmd.models.kge.model import KgeModel


@torch.no_grad()
def entity_vectors(model: KgeModel, entities: Tensor, width: int | None = None) -> Tensor:
    """(n,) entity positions -> (n, parts · width): the leading dimensions of each part, one part after the other, as a
    sub-model compares them: of length 1 where the model has unit entities. PmdError for a width that it has not."""
    small = model if width is None else model.crop(width)
    return small.entity_embeddings(entities).flatten(1).cpu()
