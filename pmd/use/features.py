"""Trained embeddings as features of other models: a matrix of numbers for each entity, at any width."""

from __future__ import annotations

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.evaluation.downstream import sklearn
from pmd.models.kge import KgeModel


def entity_vectors(model: KgeModel, entities: Tensor, width: int | None = None) -> Tensor:
    """(n,) entity positions -> (n, parts · width): the leading dimensions of each part, one part after the other."""
    if not 1 <= (width or model.dim) <= model.dim:
        raise PmdError(f"width {width} is outside 1 to {model.dim}, the model's dim")
    return model.entities.detach()[entities.to(model.device), :, :width].flatten(1).cpu()


def pca_vectors(model: KgeModel, entities: Tensor, width: int) -> Tensor:
    """(n,) -> (n, parts · width): as many numbers by principal components of these entities' whole embeddings."""
    whole = entity_vectors(model, entities).double()
    count = width * model.entities.shape[1]
    if not 1 <= count <= min(whole.shape):
        raise PmdError(
            f"PCA: {count} components of {len(whole)} entities with {whole.shape[1]} numbers; lower the width"
        )
    pca = sklearn("decomposition").PCA(count, svd_solver="full")
    return torch.from_numpy(pca.fit_transform(whole.numpy())).float()


def standardised(vectors: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
    """Every feature with mean 0 and variance 1 over `rows`, so that no method gains by the scale it happens to have."""
    seen = vectors[rows]
    return (vectors - seen.mean(0)) / seen.std(0, correction=0).clamp(min=1e-6)
