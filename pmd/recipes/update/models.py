"""The model of a newer state of a graph, in a folder of its own, by family: text encoders stay as they are, embeddings get rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from pmd.core.devices import best_device
from pmd.core.errors import PmdError
from pmd.core.types import TripleScorer
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.models.families import stored_settings, training_of
from pmd.models.fused import folder as fused
from pmd.models.kge import folder as kge
from pmd.models.kge.folder import Vocabulary
from pmd.models.text import folder as text
from pmd.models.text.precision import coded, write_coded
from pmd.models.text.scorer import TextScorer
from pmd.recipes.update.changes import positions
from pmd.recipes.update.structure import Renewed, renew, with_relations
from pmd.use.earlier import EarlierTexts
from pmd.use.index import Index
from pmd.use.text_models import fill_vectors

ENTITIES = "entities.safetensors"
NOT_COPIED = ("index", ENTITIES, ".*")


@dataclass(frozen=True, eq=False)
class Source:
    """A model, the newer graph, the index of the older one, and what the settings say of the new rows of an embedding.

    Args:
        scale: factor on the scores of an embedding that makes logits of them.
    """

    folder: Path
    graph: KnowledgeGraph
    index: Index
    steps: int
    scale: float = 1.0
    cache: str | None = None


def write_text(source: Source, out: Path) -> dict[str, Any]:
    """Write a text model: the same encoders. Its entities come with its index."""
    shutil.copytree(source.folder, out, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
    write_vocabulary(out, source.graph)
    return {}


def write_embedding(source: Source, out: Path) -> dict[str, Any]:
    """Write an embedding model with a row for each entity; how many are new. PmdError for relations that it has not learned."""
    model, vocabulary = kge.load_named(source.folder)
    graph = source.graph
    relations = positions(graph.relation_ids, vocabulary.relation_ids)
    if (relations < 0).any():
        new = ", ".join(graph.relation_ids[row] for row in np.flatnonzero(relations < 0)[:5])
        raise PmdError(
            f"data.path: '{source.folder}' has learned nothing of the relations {new}, and an embedding has no other way to know "
            "them; take their facts out, train anew, or ask a text model"
        )
    renewed, facts = _renewed(source, model, vocabulary, relations)
    kge.save(out, with_relations(renewed.model, relations), graph, training_of(source.folder))
    _as_stored(source.folder, out)
    return facts


def write_fused(source: Source, out: Path) -> dict[str, Any]:
    """Write a fused model: the same encoders and weights, and a structure with a row for each entity. Of relations that are new,
    the text alone knows."""
    structure, graph = fused.load_structure(source.folder), source.graph
    old = structure.vocabulary
    relations = positions(graph.relation_ids, old.relation_ids)
    names = dict(zip(graph.relation_ids, graph.relation_names))
    vocabulary = Vocabulary(
        *(graph.entity_ids, graph.entity_names, graph.entity_descriptions),
        *(old.relation_ids, [names.get(key, name) for key, name in zip(old.relation_ids, old.relation_names)]),
    )
    renewed, facts = _renewed(source, structure.model, old, relations)
    rows = positions(graph.entity_ids, old.entity_ids)
    newer = fused.Structure.of(renewed.model, graph, structure.weights)
    newer = replace(newer, vocabulary=vocabulary, known=np.where(rows < 0, renewed.placed, structure.known[rows]))
    settings = stored_settings(source.folder) | {"graph": graph.checksum(), "graph_name": graph.name}
    with TemporaryDirectory(dir=out.parent) as temporary:
        halves = {part: Path(temporary) / part for part in ("text", "structure")}
        write_text(replace(source, folder=source.folder / "text"), halves["text"])
        kge.save(halves["structure"], renewed.model, vocabulary, training_of(source.folder / "structure"))
        _as_stored(source.folder / "structure", halves["structure"])
        fused.save(out, *halves.values(), newer, settings)
    write_vocabulary(out, graph)
    return facts


WRITE: Mapping[str, Callable[[Source, Path], dict[str, Any]]] = {
    "text": write_text,
    "embedding": write_embedding,
    "fused": write_fused,
}


def _renewed(
    source: Source, model: Any, vocabulary: Vocabulary, relations: np.ndarray
) -> tuple[Renewed, dict[str, Any]]:
    entities = positions(source.graph.entity_ids, vocabulary.entity_ids)
    train = source.graph.split("train")
    renewed = renew(model, entities, relations, train, steps=source.steps, scale=source.scale)
    new = entities < 0
    counts = {"new": int(new.sum()), "from_facts": int((new & renewed.placed).sum()), "steps": source.steps}
    return renewed, {"structure": counts | {"relations_without": int((relations < 0).sum())}}


def _as_stored(old: Path, new: Path) -> None:
    """Store the numbers of a model in the precision of another, which may be half of the usual one."""
    kinds = {array.dtype for array in load_file(old / "model.safetensors").values() if array.is_floating_point()}
    if kinds != {torch.float32}:
        file, (kind, *_) = new / "model.safetensors", kinds
        weights = load_file(file)
        kept = {name: array.to(kind) if array.is_floating_point() else array for name, array in weights.items()}
        save_file(kept, file, {"format": "pt"})


def keep_entities(folder: Path, index: Index, graph: KnowledgeGraph) -> None:
    """Write the encoded entities of a text or fused model, from its index, so that a ranking need not encode them."""
    part = folder if index.metadata["kind"] == "text" else folder / "text"
    kind = text.stored_precision(part).get("vectors", "fp32")
    if kind != "binary":  # its codes depend on the mean of all vectors before they were coded
        vectors = coded(np.ascontiguousarray(EarlierTexts.of(index).vectors), kind)
        write_coded(part / ENTITIES, vectors, {"graph": graph.checksum(), "format": "pt"})


def scorer_of(folder: Path, family: str, earlier: Index, cache: str | None) -> Callable[[KnowledgeGraph], TripleScorer]:
    """From a graph to the scorer of an updated model, which takes vectors of texts from its folder or an earlier index."""
    part, device = folder if family == "text" else folder / "text", best_device()

    def text_scorer(graph: KnowledgeGraph) -> TextScorer:
        if text.stored_entities(part, graph) is not None or text.stored_precision(part).get("vectors") == "binary":
            return text.scorer(part, graph, device=device, cache=cache)
        model, before = text.load_model(part), EarlierTexts.of(earlier)
        read = model.read(graph, cache, before)
        vectors = np.empty((graph.num_entities, model.model.dim), dtype=np.float32)
        fill_vectors(vectors, model.model.to(device), read, before)
        return TextScorer(model.model, read, torch.from_numpy(vectors).to(device))

    def scorer(graph: KnowledgeGraph) -> TripleScorer:
        if family == "embedding":
            return kge.scorer(folder, graph, device=device)
        scores = text_scorer(graph)
        return scores if family == "text" else fused.fused(scores, fused.load_structure(folder), graph)

    return scorer
