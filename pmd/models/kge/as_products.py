"""An embedding model whose scores are inner products of one vector for each query and one for each entity.

Products are that as they are, squared distances with one or two more numbers (`pmd.models.fused.tables`). An interaction is asked,
not known: what its queries do to each part of an entity is read from queries of zeros and ones, and compared with queries of
random entities, so that a new interaction needs no line here. What is not linear in each dimension is refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import Target
from pmd.models.fused.tables import ProductTables
from pmd.models.kge.model import KgeModel
from pmd.settings.catalogue import INTERACTIONS

REMEDY = "train with --model.norm squared, or an interaction that is a product"
TOLERANCE = 1e-9
"""The largest relative error of a query in double precision that is linear."""


@torch.no_grad()
def product_tables(model: KgeModel) -> ProductTables:
    """The tables of a model. PmdError, with the reason, if its scores are no inner products."""
    interaction = model.interaction
    if interaction.norm not in (None, "squared"):
        raise PmdError(
            f"structure: {_title(model)} with norm {interaction.norm} has no inner product: a sum of moduli, or a root, does not "
            f"split into numbers of the query and numbers of the entity; {REMEDY}"
        )
    maps, shifts, factors = (
        torch.cat(parts) for parts in zip(*(_of_target(model, target) for target in ("tail", "head")))
    )
    arrays = [array.float().numpy() for array in (maps, shifts, factors)]
    if interaction.relation_free:
        arrays[2] = None
    return ProductTables(*arrays, squared=interaction.norm == "squared", unit=model.unit_entities)


def _of_target(model: KgeModel, target: Target) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (R, parts, parts, dim), shifts and factors (R, parts, dim) of the queries for a target."""
    interaction, asked = model.interaction, model.asked_target(target)
    rows = torch.arange(model.num_relations)
    rows = rows + (model.num_relations if model.reciprocal and target == "head" else 0)
    relations = model.relations.cpu()[rows].double()
    shape = len(rows), interaction.entity_parts, model.dim
    zeros, ones = relations.new_zeros(shape), relations.new_ones(shape)
    shifts = interaction.query(zeros, relations, asked).expand(shape)
    maps = []
    for part in range(shape[1]):
        unit = zeros.clone()
        unit[:, part] = 1
        maps.append(interaction.query(unit, relations, asked) - shifts)
    maps, factors = torch.stack(maps, 2), interaction.candidate(ones, relations, asked).expand(shape)
    entities = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    queries = torch.einsum("rpid,rid->rpd", maps, entities) + shifts
    for linear, true in (
        (queries, interaction.query(entities, relations, asked)),
        (factors * entities, interaction.candidate(entities, relations, asked)),
    ):
        if not torch.allclose(linear, true, rtol=TOLERANCE, atol=TOLERANCE):
            raise PmdError(
                f"structure: {_title(model)} changes entities by the relation in other ways than by a factor for each dimension, so no "
                f"single vector of an entity will do; {REMEDY}, and no hyperplanes"
            )
    return maps, shifts, factors


def _title(model: KgeModel) -> str:
    return INTERACTIONS[model.name].title
