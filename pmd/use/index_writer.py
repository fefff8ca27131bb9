"""Writing the index of a model's folder (`pmd.use.index`): once for a model and graph, or cropped along with the model.

The folder is filled beside its place and then moved there; index.json is written last.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from pmd.core.bars import shows_bars
from pmd.core.devices import best_device
from pmd.core.errors import PmdError
from pmd.core.files import READ_ONLY, write_folder, write_json
from pmd.core.types import TARGETS
from pmd.data.graphs.answers import triple_keys
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.ragged import Ragged
from pmd.models.kge.folder import load_for
from pmd.use.index import FORMAT, FileStats, Index, crop_vectors, file_stats, files_checksum, index_folders, model_files
from pmd.use.names import Strings, folded_order

if TYPE_CHECKING:  # transformers is loaded for text models only
    from pmd.data.texts.graph_text import GraphText
    from pmd.models.text.bi_encoder import BiEncoder

Columns = dict[str, np.ndarray]

ENTITIES_PER_STEP = 2048
"""Entities that are encoded between two steps of the progress bar."""


def build_index(
    model: Path, graph: KnowledgeGraph, stats: FileStats, *, reads: bool, cache: str | None = None
) -> Index:
    """Write `index/` into a model's folder and open it.

    Args:
        graph: names and triples; for an embedding model, the graph that it was trained on.
        stats: of the files that the graph was read from.
        reads: whether the model reads texts: then the entities are encoded. Else it is an embedding model.
        cache: folder for tokenised texts.

    Raises:
        PmdError: if an embedding model was trained on another graph.
    """
    metadata: dict[str, Any] = {"format": FORMAT, "graph": graph.checksum(), "graph_name": graph.name}
    metadata |= {"graph_files": stats, "splits": graph.split_names, **_model_metadata(model)}
    metadata |= {"num_entities": graph.num_entities, "num_relations": graph.num_relations}
    metadata["inductive"] = graph.candidates("train") is not None
    columns = _name_columns(graph) | _triple_columns(graph)
    if metadata["inductive"]:
        columns["parts"] = _subgraphs(graph)
    if not reads:
        metadata |= {"kind": "embedding", "dim": load_for(model, graph).dim}

    def fill(folder: Path) -> None:
        text_metadata, text_columns = _write_text(folder, model, graph, cache) if reads else ({}, {})
        contiguous = {name: np.ascontiguousarray(column) for name, column in (columns | text_columns).items()}
        save_file(contiguous, folder / "columns.safetensors")
        write_json(folder / "index.json", metadata | text_metadata)

    return Index(write_index(model, fill), model)


def crop_index(index: Index, model: Path, width: int) -> None:
    """Write an index into the folder of a model that is the first `width` dimensions of the index's own."""

    def fill(folder: Path) -> None:
        shutil.copyfile(index.folder / "columns.safetensors", folder / "columns.safetensors")
        if index.metadata["kind"] == "text":
            np.save(folder / "vectors.npy", crop_vectors(index.vectors, width))
        write_json(folder / "index.json", index.metadata | _model_metadata(model) | {"dim": width})

    write_index(model, fill)


def write_index(model: Path, fill: Callable[[Path], None]) -> Path:
    """Let `fill` write the index of a model's folder, into the cache if the folder is read-only; where it is. PmdError if
    both are."""
    own, cached = index_folders(model)
    for folder in (own, cached):
        try:
            write_folder(folder, fill)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            continue
        if folder == own:
            shutil.rmtree(cached, ignore_errors=True)  # of a time when the folder was read-only
        return folder
    raise PmdError(
        f"{own}: cannot be written, nor can the cache {cached.parent}; set PMD_CACHE to a folder that can be"
    )


def _model_metadata(folder: Path) -> dict[str, Any]:
    files = model_files(folder)
    stats = file_stats(folder, files)  # before reading: a file that changes meanwhile will be compared again
    return {"model": files_checksum(files), "model_files": stats}


def _ragged_columns(name: str, rows: Ragged) -> Columns:
    return {name: rows.flat, f"{name}_offsets": rows.offsets}


def _name_columns(graph: KnowledgeGraph) -> Columns:
    """Ids, names and descriptions as bytes, and the orders by which ids and names are looked up."""
    texts = {"entity_ids": graph.entity_ids, "entity_names": graph.entity_names}
    texts |= {"entity_descriptions": graph.entity_descriptions}
    texts |= {"relation_ids": graph.relation_ids, "relation_names": graph.relation_names}
    columns: Columns = {}
    for name, values in texts.items():
        columns |= _ragged_columns(name, Strings.of(values).rows)
        if name != "entity_descriptions":
            columns[name.replace("_", "_by_").removesuffix("s")] = folded_order(values)
    return columns


def _triple_columns(graph: KnowledgeGraph) -> Columns:
    """For each target, the sorted keys (u,) of the distinct triples of all splits, and bit i where split i has one."""
    columns: Columns = {}
    splits = [graph.split(name) for name in graph.split_names]
    bits = np.repeat(1 << np.arange(len(splits)), [len(split) for split in splits])
    for target in TARGETS:
        keys = triple_keys(torch.cat(splits), graph.num_entities, graph.num_relations, target).numpy()
        columns[f"{target}_keys"], positions = np.unique(keys, return_inverse=True)
        columns[f"{target}_splits"] = np.zeros(len(columns[f"{target}_keys"]), dtype=np.int64)
        np.bitwise_or.at(columns[f"{target}_splits"], positions, bits)
    return columns


def _subgraphs(graph: KnowledgeGraph) -> np.ndarray:
    """The column `Index.subgraphs` (num_entities,) of an inductive data set."""
    subgraphs = np.zeros(graph.num_entities, dtype=np.int64)
    for number, split in ((1, "train"), (2, "inductive_train")):
        subgraphs[graph.candidates(split).numpy()] = number
    return subgraphs


def _write_text(folder: Path, model: Path, graph: KnowledgeGraph, cache: str | None) -> tuple[dict[str, Any], Columns]:
    """Write vectors.npy of a text model into a folder; returns the metadata and columns that only its index has."""
    from pmd.models.text.folder import load_model, stored_entities

    text_model = load_model(model)
    encoder = text_model.model.to(best_device())
    text = text_model.read(graph, cache)
    write_vectors(folder / "vectors.npy", encoder, text, stored_entities(model, graph))
    metadata = {"kind": "text", "dim": encoder.dim, "frame": asdict(text.frame), "pad": text.pad}
    entity_tokens = text.rows.take(np.arange(text.num_entities))  # names of neighbours included
    columns = _ragged_columns("tokens", entity_tokens) | _ragged_columns("relation_tokens", text.relations)
    return {**metadata, "max_length": text.max_length}, columns


def write_vectors(file: Path, model: BiEncoder, text: GraphText, stored: Tensor | None) -> None:
    """Write the vectors (num_entities, d) of all entities as fp32.

    `stored` are vectors from the model's folder: they are taken if a sample of entities, encoded again, has the same.
    """
    from tqdm.auto import tqdm

    from pmd.models.text.scorer import encode_texts

    vectors = np.lib.format.open_memmap(file, "w+", dtype=np.float32, shape=(text.num_entities, model.dim))
    longest_first = np.argsort(-text.rows.lengths[: text.num_entities], kind="stable")
    if stored is not None and stored.shape == vectors.shape:
        sample = longest_first[:: max(1, len(longest_first) // 8)]
        encoded = encode_texts(model, "entity", text.entities(sample), text.pad).cpu()
        if torch.allclose(encoded, stored[sample].float(), atol=1e-3):
            vectors[:] = stored.numpy()
            vectors.flush()
            return
    print(f"encoding {len(vectors):,} entities, once for this model and graph", file=sys.stderr)
    with tqdm(total=len(vectors), unit="entity", disable=not shows_bars()) as bar:
        for start in range(0, len(vectors), ENTITIES_PER_STEP):
            rows = longest_first[start : start + ENTITIES_PER_STEP]
            vectors[rows] = encode_texts(model, "entity", text.entities(rows), text.pad).cpu().numpy()
            bar.update(len(rows))
    vectors.flush()
