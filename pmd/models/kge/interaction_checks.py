"""What a class of interactions is tried for when a model is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pmd.core.errors import PmdError, first_line

if TYPE_CHECKING:
    from pmd.models.kge.interactions import Interaction


def check_queries(interaction: Interaction, triples: int = 4, dim: int = 6) -> None:
    """PmdError unless both queries of a few triples have an entity's shape and score the triples alike."""
    name, shape = type(interaction).__name__, (triples, interaction.entity_parts, dim)
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
        if query.shape != shape:
            raise PmdError(f"{name}.{target}: gives {tuple(query.shape)} where entities have {shape}; {remedy}")
        scores[target] = interaction.reduce(interaction.terms(query, candidate).sum(-1))
    if not torch.allclose(scores["tail"], scores["head"], atol=1e-4):
        one, other = (value[0].item() for value in scores.values())
        raise PmdError(
            f"{name}: `tail` and `head` give a triple different scores ({one:.4g} and {other:.4g}); they are two ways to the same score"
        )
