"""Building the index that answers read (`pmd.use.index`), once for a model: what needs torch of it.

The folder is written aside and renamed; index.json comes last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from pmd.core.files import write_folder, write_json
from pmd.core.types import TARGETS
from pmd.data.graphs.answers import triple_keys
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.models.kge.folder import load_for
from pmd.use.index import FORMAT, Index, Stamps, model_facts, ragged_columns
from pmd.use.names import Strings, folded_order

Columns = dict[str, np.ndarray]


def build_index(
    model: Path, graph: KnowledgeGraph, stamps: Stamps, *, embedding: bool, cache: str | None = None
) -> Index:
    """Write `index/` into a model's folder and open it.

    Args:
        graph: its names and triples; for an embedding model the one that it was trained on.
        stamps: of the files that the graph was read from.
        embedding: whether it is an embedding model, whose own table is what is compared.
        cache: folder for tokenised texts.

    Raises:
        PmdError: if an embedding model is of another graph.
    """
    facts: dict[str, Any] = {"format": FORMAT, "graph": graph.checksum(), "graph_name": graph.name}
    facts |= {"graph_files": stamps, "splits": graph.split_names, **model_facts(model)}
    facts |= {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    facts["inductive"] = graph.candidates("train") is not None
    columns = names_of(graph) | known_triples(graph)
    if facts["inductive"]:
        columns["parts"] = parts_of(graph)

    if embedding:
        facts |= {"kind": "embedding", "dim": load_for(model, graph).dim}

    def fill(aside: Path) -> None:
        more, tokens = ({}, {}) if embedding else text_part(aside, model, graph, cache)
        stored = {name: np.ascontiguousarray(column) for name, column in (columns | tokens).items()}
        save_file(stored, aside / "columns.safetensors")
        write_json(aside / "index.json", facts | more)

    write_folder(model / "index", fill)
    return Index(model / "index")


def text_part(folder: Path, model: Path, graph: KnowledgeGraph, cache: str | None) -> tuple[dict[str, Any], Columns]:
    """What only a text model's index has; its module loads transformers."""
    from pmd.use.text_index_writer import write_text_index

    return write_text_index(folder, model, graph, cache)


def names_of(graph: KnowledgeGraph) -> Columns:
    """Ids, names and descriptions as bytes, and the orders in which names are looked up."""
    texts = {"entity_ids": graph.entity_ids, "entity_names": graph.entity_names}
    texts |= {"entity_descriptions": graph.entity_descriptions}
    texts |= {"relation_ids": graph.relation_ids, "relation_names": graph.relation_names}
    columns: Columns = {}
    for name, values in texts.items():
        columns |= ragged_columns(name, Strings.of(values).rows)
        if name != "entity_descriptions":
            columns[name.replace("_", "_by_").removesuffix("s")] = folded_order(values)
    return columns


def known_triples(graph: KnowledgeGraph) -> Columns:
    """For each target the sorted keys (u,) of all triples of all splits, and bit i where split i has one."""
    columns: Columns = {}
    splits = [graph.split(name) for name in graph.split_names]
    bits = np.repeat(1 << np.arange(len(splits)), [len(split) for split in splits])
    for target in TARGETS:
        keys = triple_keys(torch.cat(splits), graph.num_entities, graph.num_relations, target).numpy()
        columns[f"{target}_keys"], place = np.unique(keys, return_inverse=True)
        columns[f"{target}_splits"] = np.zeros(len(columns[f"{target}_keys"]), dtype=np.int64)
        np.bitwise_or.at(columns[f"{target}_splits"], place, bits)
    return columns


def parts_of(graph: KnowledgeGraph) -> np.ndarray:
    """Of an inductive data set, the graph (n,) of each entity: 1 train, valid and test, 2 inductive, 0 neither."""
    parts = np.zeros(graph.num_entities, dtype=np.int64)
    for part, split in ((1, "train"), (2, "inductive_train")):
        parts[graph.candidates(split).numpy()] = part
    return parts
