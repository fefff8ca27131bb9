"""Whether a class of interactions does what it says, tried on a few triples when a model is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pmd.core.errors import PmdError, first_line

if TYPE_CHECKING:
    from pmd.core.types import Target
    from pmd.models.kge.interactions import Interaction


TRIPLES, DIM = 4, 8
"""Of the trial: so many triples, of embeddings so wide."""
FAILURES = (RuntimeError, ValueError, IndexError, TypeError)


def check_interaction(interaction: Interaction) -> None:
    """PmdError unless both queries of a few triples have an entity's shape and score the triples alike, the scores of widths are
    those of cropped embeddings, and `relation_free` and the norm are true of the class."""
    name = type(interaction).__name__
    if interaction.norm not in (None, *interaction.norms):
        raise PmdError(f"{name}: default_norm '{interaction.norm}' is none of {', '.join(interaction.norms)}")
    drawn = torch.Generator().manual_seed(0)
    parts = (interaction.entity_parts, interaction.relation_parts, interaction.entity_parts)
    h, r, t = (torch.rand(TRIPLES, number, DIM, generator=drawn, dtype=torch.float32) for number in parts)
    shapes = f"entities of shape {tuple(h.shape)} and relations of shape {tuple(r.shape)}"
    remedy = f"{shapes}; entity_parts and relation_parts of the class say how many parts they have"
    try:
        scores = {
            "tail": _checked(interaction, "tail", h, r, t, remedy),
            "head": _checked(interaction, "head", t, r, h, remedy),
        }
        _check_widths(interaction, h, r, t)
    except PmdError:  # which is a ValueError too
        raise
    except FAILURES as error:
        raise PmdError(f"{name}: fails for {remedy} ({type(error).__name__}: {first_line(error)})") from error
    if not torch.allclose(scores["tail"], scores["head"], atol=1e-4):
        one, other = (value[0].item() for value in scores.values())
        raise PmdError(
            f"{name}: a triple has the score {one:.4g} by `tail` and {other:.4g} by `head`, each beside `candidate`; "
            "they are two ways to the same score"
        )


def _checked(interaction: Interaction, target: Target, known: Tensor, r: Tensor, answer: Tensor, remedy: str) -> Tensor:
    """The scores (TRIPLES,) by the query for a target."""
    name = type(interaction).__name__
    query, candidate = interaction.query(known, r, target), interaction.candidate(answer, r, target)
    for function, value in ((target, query), ("candidate", candidate)):
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if given != tuple(answer.shape):
            raise PmdError(f"{name}.{function}: gives {given} for {remedy}")
    if interaction.relation_free and not torch.equal(candidate, interaction.candidate(answer, r.flip(0), target)):
        raise PmdError(f"{name}: `candidate` changes with the relation; say so by relation_free = False in the class")
    return interaction.reduce(interaction.terms(query, candidate).sum(-1))


def _check_widths(interaction: Interaction, h: Tensor, r: Tensor, t: Tensor) -> None:
    name, widths = type(interaction).__name__, (DIM // 2, DIM)
    cropped = torch.stack([interaction.score(h[..., :n], r[..., :n], t[..., :n]) for n in widths], -1)
    if not torch.allclose(interaction.score_widths(h, r, t, widths), cropped, atol=1e-3):
        raise PmdError(
            f"{name}: `score_widths` gives a width other scores than embeddings cropped to it; `terms` may depend on the width"
        )
    if not interaction.relation_free:
        return  # candidates are compared relation by relation, by the same functions
    pairs = interaction.pairwise(interaction.tail(h, r), t)
    if not torch.allclose(pairs.diagonal(), cropped[:, -1], atol=1e-3):
        raise PmdError(f"{name}: `pairwise` gives other scores than `terms` and `reduce`; all three must agree")
    compared = interaction.compare_widths(h[None], r[None], t[None], "tail", widths)[:, 0]  # (widths, TRIPLES, TRIPLES)
    if not torch.allclose(compared.diagonal(dim1=-2, dim2=-1).T, cropped, atol=1e-3):
        raise PmdError(f"{name}: `compare_widths` gives other scores than `terms`; term_kind says which sum they are")
