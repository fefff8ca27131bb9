"""The embedding of a newer state of a graph: rows of known entities by their ids, and rows of new ones from their facts.

A new row begins as the mean of the entities that stand where the new one does (head or tail of the same relations), and takes a
few steps of gradient descent, everything else frozen, on the cross-entropy of its facts in both directions. It competes there
with a sample of known entities, and in a sample of known facts it is a wrong answer. All of it is one small model: the ends of
these facts, and the new entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pmd.core.errors import PmdError
from pmd.core.types import ANSWER_COLUMN, TARGETS
from pmd.data.graphs.answers import KnownAnswers
from pmd.models.kge.model import KgeModel

SAMPLE = 2000
"""Known facts beside those of the new entities."""
BATCH = 1024
PULL = 0.1
"""Weight of the squared distance from where a row began, in units of the size of a known row's numbers, for each fact."""
RATE = 0.05
"""Step size, as a share of the size of a known row's numbers."""


@dataclass(frozen=True, eq=False)
class Renewed:
    """A model of a newer state, and which of its entities (n,) have a row of their own: known ones, and new ones with facts."""

    model: KgeModel
    placed: np.ndarray


def renew(
    model: KgeModel, entities: np.ndarray, relations: np.ndarray, triples: Tensor, *, steps: int, scale: float = 1.0
) -> Renewed:
    """The embedding of a newer state.

    Args:
        entities: (n,) the row of each entity now, −1 for a new one.
        relations: (m,) the same of each relation; facts of a new one are not read.
        triples: (t, 3) training facts now.
        steps: of gradient descent for the new rows.
        scale: factor on scores that makes logits of them.

    Raises:
        PmdError: if an encoder computes the model's entities.
    """
    if model.entity_encoder is not None:
        raise PmdError(
            f"structure: {model.encoder} computes the entities of this model from the facts that it was trained on, and has no "
            "rows to add to; train it anew"
        )
    renewed = with_entities(model, np.where(entities < 0, 0, entities))
    triples = triples.clone()
    triples[:, 1] = torch.from_numpy(relations)[triples[:, 1]]
    triples = triples[triples[:, 1] >= 0]
    is_new = torch.from_numpy(entities < 0)
    of_new = is_new[triples[:, [0, 2]]].any(1)
    facts = triples[of_new]
    placed = ~is_new
    placed[facts[:, [0, 2]].flatten()] = True
    with torch.no_grad():
        table = renewed.entity_rows.weight
        table[is_new] = _means(table, is_new, triples)[is_new]
    if len(facts) and steps:
        _fit(renewed, is_new, facts, triples[~of_new], steps, scale)
    return Renewed(renewed, placed.numpy())


def with_entities(model: KgeModel, rows: Sequence[int] | np.ndarray) -> KgeModel:
    """The same model of these entities (n,), in this order."""
    settings = {**model._hub_mixin_config, "num_entities": len(rows)}
    return _with_rows(model, settings, entity_rows=rows)


def with_relations(model: KgeModel, rows: np.ndarray) -> KgeModel:
    """The same model of these relations (m,), in this order."""
    both = np.concatenate([rows, rows + model.num_relations]) if model.reciprocal else rows
    return _with_rows(model, {**model._hub_mixin_config, "num_relations": len(rows)}, relation_rows=both)


def _with_rows(model: KgeModel, settings: dict, **rows: np.ndarray) -> KgeModel:
    with torch.random.fork_rng(devices=[]):  # its initial numbers are overwritten
        other = KgeModel(**settings)
    with torch.no_grad():
        for name in ("entity_rows", "relation_rows"):
            table = getattr(model, name).weight
            taken = torch.as_tensor(rows[name]) if name in rows else slice(None)
            getattr(other, name).weight.copy_(table[taken])
    return other.eval()


def _means(table: Tensor, is_new: Tensor, triples: Tensor) -> Tensor:
    """For each entity (n, numbers) the mean, over its facts, of the mean known entity at its place of the relation; the mean
    of all known ones for an entity without such facts."""
    places = torch.cat([2 * triples[:, 1], 2 * triples[:, 1] + 1])
    standing = triples[:, [0, 2]].T.flatten()
    count = int(places.max()) + 1 if len(places) else 0
    everything = table[~is_new].mean(0)

    def mean(into: Tensor, values: Tensor, size: int) -> Tensor:
        sums = everything.expand(size, -1).clone() * 0
        sums.index_add_(0, into, values)
        counts = torch.bincount(into, minlength=size)[:, None]
        return torch.where(counts > 0, sums / counts.clamp(min=1), everything)

    known = ~is_new[standing]
    by_place = mean(places[known], table[standing[known]], count)
    return mean(standing[~known], by_place[places[~known]], len(table))


def _fit(model: KgeModel, is_new: Tensor, facts: Tensor, others: Tensor, steps: int, scale: float) -> None:
    """Descend on the rows of new entities, given their facts and those of known ones."""
    draw = torch.Generator().manual_seed(0)
    sample = others[torch.randperm(len(others), generator=draw)[:SAMPLE]]
    fitted = torch.cat([facts, sample])
    ends = torch.unique(torch.cat([fitted[:, [0, 2]].flatten(), is_new.nonzero().squeeze(1)]))
    small = with_entities(model, ends.numpy())
    table = small.entity_rows.weight
    small.relation_rows.requires_grad_(False)
    frozen = ~is_new[ends]
    inside = torch.cat([facts, others])
    inside = inside[torch.isin(inside[:, [0, 2]], ends).all(1)]
    fitted, inside = _at(fitted, ends), _at(inside, ends)
    known = KnownAnswers(inside, len(ends), small.num_relations)
    start, size = table.detach().clone(), table.detach()[frozen].square().mean().sqrt()
    optimizer = torch.optim.Adam([table], lr=RATE * float(size))
    with torch.enable_grad():
        for step in range(steps):
            batch = fitted
            if len(fitted) > BATCH:
                batch = fitted[torch.randint(len(fitted), (BATCH,), generator=draw)]
            optimizer.param_groups[0]["lr"] = RATE * float(size) * (1 - step / steps)
            loss = sum(_cross_entropy(small, known, batch, target, scale) for target in TARGETS)
            loss = loss + PULL * ((table - start)[~frozen] / size).square().sum() / len(fitted)
            optimizer.zero_grad()
            loss.backward()
            table.grad[frozen] = 0
            optimizer.step()
    with torch.no_grad():
        table[frozen] = start[frozen]
        model.entity_rows.weight[ends[~frozen]] = table[~frozen]


def _cross_entropy(model: KgeModel, known: KnownAnswers, triples: Tensor, target: str, scale: float) -> Tensor:
    """Of the answers of triples (b, 3) among all entities that are no other known answer."""
    logits, answers = scale * model.score_all(triples, target), triples[:, ANSWER_COLUMN[target]]
    row, entity = known.lookup(triples, target)
    other = entity != answers[row]
    mask = torch.zeros_like(logits, dtype=torch.bool).index_put((row[other], entity[other]), torch.tensor(True))
    return cross_entropy(logits.masked_fill(mask, -torch.inf), answers)


def _at(triples: Tensor, ends: Tensor) -> Tensor:
    """Triples in positions among the entities `ends`, ascending."""
    heads, tails = (torch.searchsorted(ends, triples[:, column].contiguous()) for column in (0, 2))
    return torch.stack([heads, triples[:, 1], tails], 1)
