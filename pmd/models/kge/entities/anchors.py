"""Entities that stand for others: how they are chosen, and which of them are nearest to an entity.

Paths go along triples in both directions. Example: in a chain a - b - c - d with the anchors a and d, the nearest of b is a
at distance 1, then d at 2.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from pmd.settings.entity_encoders import Selection

SHARES = {"degree": 0.4, "pagerank": 0.4}
"""Of the anchors of `mixed`, as the authors of NodePiece choose them; the others are drawn at random."""
SEARCHED = 256
"""Anchors from which paths are searched at a time."""


def choose(selection: Selection, count: int, triples: Tensor, num_entities: int) -> Tensor:
    """(count,) entities of a graph with these triples (n, 3), the most important first; of equals, the earlier entity."""
    if selection == "mixed":
        by_degree = choose("degree", round(SHARES["degree"] * count), triples, num_entities)
        chosen = [by_degree]
        for kind, size in (("pagerank", round(SHARES["pagerank"] * count)), ("random", count)):
            order = choose(kind, num_entities, triples, num_entities)
            chosen.append(order[~torch.isin(order, torch.cat(chosen))][:size])
        return torch.cat(chosen)[:count]
    if selection == "random":
        return torch.randperm(num_entities)[:count]
    worth = degrees(triples, num_entities) if selection == "degree" else page_rank(triples, num_entities)
    return worth.argsort(descending=True, stable=True)[:count]


def degrees(triples: Tensor, num_entities: int) -> Tensor:
    """(num_entities,) how often an entity is a head or a tail."""
    return torch.bincount(triples[:, [0, 2]].flatten(), minlength=num_entities)


def page_rank(triples: Tensor, num_entities: int, damping: float = 0.85, rounds: int = 100) -> Tensor:
    """(num_entities,) PageRank of the graph of neighbours; from an entity without any one goes anywhere."""
    links = neighbours(triples, num_entities).astype(np.float64)
    counts = np.asarray(links.sum(1)).ravel()
    rank = np.full(num_entities, 1 / num_entities)
    for _ in range(rounds):
        passed = links.T @ (rank / np.maximum(counts, 1)) + rank[counts == 0].sum() / num_entities
        rank = damping * passed + (1 - damping) / num_entities
    return torch.from_numpy(rank)


def neighbours(triples: Tensor, num_entities: int) -> csr_matrix:
    """Which entities share a triple, once each, (num_entities, num_entities) zeros and ones."""
    heads, tails = triples[:, 0].numpy(), triples[:, 2].numpy()
    both = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    links = csr_matrix((np.ones(2 * len(triples), dtype=np.float32), both), shape=(num_entities, num_entities))
    links.data[:] = 1  # several triples between two entities are one link
    return links


def nearest_anchors(anchors: Tensor, triples: Tensor, num_entities: int, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest anchors of every entity, nearest first, of equally near ones those that come first in `anchors`.

    Returns:
        (num_entities, k) positions in `anchors` and distances; len(anchors) and -1 where no further anchor is reached.
    """
    links = neighbours(triples, num_entities)
    nearest = np.full((num_entities, k), len(anchors))
    distances = np.full((num_entities, k), np.inf)
    for start in range(0, len(anchors), SEARCHED):
        part = anchors[start : start + SEARCHED].numpy()
        found = np.concatenate([distances, path_lengths(links, part)], axis=1)
        positions = np.broadcast_to(np.arange(start, start + len(part)), (num_entities, len(part)))
        positions = np.concatenate([nearest, positions], axis=1)
        order = np.argsort(found, axis=1, kind="stable")[:, :k]  # earlier parts stand first, and so win
        nearest, distances = (np.take_along_axis(table, order, axis=1) for table in (positions, found))
    reached = np.isfinite(distances)
    nearest = np.where(reached, nearest, len(anchors))
    return torch.from_numpy(nearest), torch.from_numpy(np.where(reached, distances, -1).astype(np.int64))


def path_lengths(links: csr_matrix, anchors: np.ndarray) -> np.ndarray:
    """(num_entities, len(anchors)) the lengths of the shortest paths to anchors; infinity where there is none."""
    columns = np.arange(len(anchors))
    lengths = np.full((links.shape[0], len(anchors)), np.inf)
    lengths[anchors, columns] = 0
    front, steps = np.zeros(lengths.shape, dtype=np.float32), 0
    front[anchors, columns] = 1
    while front.any():
        steps += 1
        front = ((links @ front > 0) & np.isinf(lengths)).astype(np.float32)
        lengths[front > 0] = steps
    return lengths
