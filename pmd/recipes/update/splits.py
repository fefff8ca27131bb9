"""A newer state that has no splits of its own: facts keep the split that they had, so that none that was learned is tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pmd.core.files import folder_name
from pmd.data.graphs.build import SPLIT_HERE
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_graph
from pmd.recipes.update.changes import GraphState, keys_of, positions
from pmd.settings.shared import DataConfig

SPLITS = ("train", "valid", "test")


def is_split_here(graph: KnowledgeGraph) -> bool:
    """Whether the splits of a graph were drawn when it was read."""
    return any(note.startswith(SPLIT_HERE) for note in graph.notes)


def keep_splits(graph: KnowledgeGraph, old: GraphState) -> KnowledgeGraph:
    """A graph whose splits were drawn, with every fact of the older state in the split where it was; new ones stay as drawn."""
    triples = torch.cat([graph.split(name) for name in SPLITS])
    chosen = np.repeat(np.arange(len(SPLITS)), [len(graph.split(name)) for name in SPLITS])
    sizes = graph.num_entities, graph.num_relations
    entities, relations = positions(old.entity_ids, graph.entity_ids), positions(old.relation_ids, graph.relation_ids)
    keys = keys_of(triples.numpy(), *sizes)
    for number in reversed(range(len(SPLITS))):  # what stood in several splits was learned
        before = old.splits.get(SPLITS[number], np.empty((0, 3), dtype=np.int64))
        now = np.stack([entities[before[:, 0]], relations[before[:, 1]], entities[before[:, 2]]], 1)
        chosen[np.isin(keys, keys_of(now, *sizes))] = number
    rows = {name: torch.from_numpy(chosen == number) for number, name in enumerate(SPLITS)}
    weights = {}
    if graph.weights:
        pooled = torch.cat([graph.weights[name] for name in SPLITS])
        weights = {name: pooled[mask] for name, mask in rows.items()}
    notes = (*graph.notes, "facts of the older state keep their splits")
    return replace(graph, **{name: triples[mask] for name, mask in rows.items()}, weights=weights, notes=notes)


def written(graph: KnowledgeGraph, runs: Path, data: DataConfig) -> DataConfig:
    """The settings of a graph that is in no file with its splits: it is written among the runs, once."""
    folder = runs / "graphs" / graph.checksum()[:12] / folder_name(graph.name)
    if not folder.is_dir():
        write_graph(graph, folder)
    return DataConfig(path=str(folder.resolve()), weight="4" if graph.weights else None, cache=data.cache)
