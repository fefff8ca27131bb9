"""The part of an index that only a text model has: the tokens of its texts and the vectors of its entities."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pmd.core.quiet import quiet
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.texts.graph_text import GraphText
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.folder import load, stored_entities
from pmd.models.text.scorer import encode_texts
from pmd.use.index import ragged_columns

PART = 2048
"""Entities that are encoded between two steps of the bar."""


def write_text_index(
    folder: Path, model: Path, graph: KnowledgeGraph, cache: str | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Write `vectors.npy` of a text model into a folder; the facts and columns that questions need besides."""
    quiet()
    trained = load(model)
    trained.model.to("cuda" if torch.cuda.is_available() else "cpu")
    text = trained.read(graph, cache)
    write_vectors(folder / "vectors.npy", trained.model, text, stored_entities(model, graph))
    rows = text.rows.take(np.arange(text.num_entities))  # with all their neighbours
    facts = {"kind": "text", "dim": trained.model.dim, "cls": text.cls, "sep": text.sep, "pad": text.pad}
    columns = ragged_columns("tokens", rows) | ragged_columns("relation_tokens", text.relations)
    return {**facts, "max_length": text.max_length}, columns


def write_vectors(file: Path, model: BiEncoder, text: GraphText, stored: torch.Tensor | None) -> None:
    """The entities' vectors (n, d) fp32: the stored ones, if a few that are encoded again are the same."""
    vectors = np.lib.format.open_memmap(file, "w+", dtype=np.float32, shape=(text.num_entities, model.dim))
    order = np.argsort(-text.rows.lengths[: text.num_entities], kind="stable")
    if stored is not None and stored.shape == vectors.shape:
        sample = order[:: max(1, len(order) // 8)]
        again = encode_texts(model, "entity", text.entities(sample), text.pad).cpu()
        if torch.allclose(again, stored[sample].float(), atol=1e-3):
            vectors[:] = stored.numpy()
            vectors.flush()
            return
    print(f"encoding {len(order):,} entities, once for this model and graph", file=sys.stderr)
    with tqdm(total=len(order), unit="entity", disable=None) as bar:
        for start in range(0, len(order), PART):
            rows = order[start : start + PART]
            vectors[rows] = encode_texts(model, "entity", text.entities(rows), text.pad).cpu().numpy()
            bar.update(len(rows))
    vectors.flush()
