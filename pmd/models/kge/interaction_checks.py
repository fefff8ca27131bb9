"""What a class of interactions is tried for when a model is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pmd.core.errors import PmdError, first_line

if TYPE_CHECKING:
    from pmd.models.kge.interactions import Interaction


def check_queries(interaction: Interaction, triples: int = 4, dim: int = 6) -> None:
    """PmdError unless both queries of a few triples have an entity's shape and score the triples alike, by terms and pairwise, and
    unless the flags of the class say what it does."""
    name, shape = type(interaction).__name__, (triples, interaction.entity_parts, dim)
    if interaction.norm not in (None, *interaction.norms):
        raise PmdError(f"{name}: default_norm '{interaction.norm}' is none of {', '.join(interaction.norms)}")
    drawn = torch.Generator().manual_seed(0)
    h, t = (torch.rand(shape, generator=drawn) for _ in range(2))
    r = torch.rand(triples, interaction.relation_parts, dim, generator=drawn)
    scores = {}
    for target, known, answer in (("tail", h, t), ("head", t, h)):
        remedy = f"relations have {tuple(r.shape)}; entity_parts and relation_parts of the class say how many parts they have"
        try:
            query, candidate = interaction.query(known, r, target), interaction.candidate(answer, r, target)
        except (RuntimeError, ValueError, IndexError) as error:
            raise PmdError(f"{name}: fails for entities of shape {shape} ({first_line(error)}); {remedy}") from None
        for function, value in ((target, query), ("candidate", candidate)):
            given = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            if given != shape:
                raise PmdError(f"{name}.{function}: gives {given} where entities have {shape}; {remedy}")
        if interaction.relation_free and not torch.equal(candidate, interaction.candidate(answer, r.flip(0), target)):
            raise PmdError(f"{name}: `candidate` depends on the relation; say so by relation_free = False in the class")
        scores[target] = interaction.reduce(interaction.terms(query, candidate).sum(-1))
        if not torch.allclose(scores[target], interaction.pairwise(query, candidate).diagonal(), atol=1e-3):
            raise PmdError(f"{name}: `pairwise` gives other scores than `terms` and `reduce`; all three must agree")
    if not torch.allclose(scores["tail"], scores["head"], atol=1e-4):
        one, other = (value[0].item() for value in scores.values())
        raise PmdError(
            f"{name}: a triple has the score {one:.4g} by `tail` and {other:.4g} by `head`, each beside `candidate`; "
            "they are two ways to the same score"
        )
