"""Trained embeddings as features of other models: a matrix of numbers for each entity, at any width."""

from __future__ import annotations

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.models.kge.model import KgeModel
from pmd.models.kge.vectors import entity_vectors
from pmd.papers.downstream.metrics import sklearn


def check_components(count: int, entities: int, numbers: int) -> None:
    """Refuse more principal components than there are entities, or numbers of each."""
    if not 1 <= count <= min(entities, numbers):
        raise PmdError(f"PCA: {count} components of {entities} entities with {numbers} numbers; lower the width")


def pca_vectors(model: KgeModel, entities: Tensor, width: int) -> Tensor:
    """(n,) -> (n, parts · width): as many numbers by principal components of these entities' whole embeddings."""
    whole = entity_vectors(model, entities).double()
    count = width * model.interaction.entity_parts
    check_components(count, *whole.shape)
    pca = sklearn("decomposition").PCA(count, svd_solver="full")
    return torch.from_numpy(pca.fit_transform(whole.numpy())).float()


def standardised(vectors: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
    """Every feature with mean 0 and variance 1 over `rows`, so that no method gains by the scale it happens to have."""
    seen = vectors[rows]
    return (vectors - seen.mean(0)) / seen.std(0, correction=0).clamp(min=1e-6)
