"""A fused model on disk: a text model and an embedding model of one graph, and their weights.

config.json                       sizes, how the weights were chosen, metrics on validation, the graph's checksum
text/, structure/                 the folders of both models
weights.safetensors               `factors` (2 · relations, 2) of the two parts by question, and what they were made from;
                                  which entities the structure has seen, and in how many triples
entities.tsv, relations.tsv       the graph's vocabulary
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pmd.core.errors import PmdError, first_line
from pmd.core.files import new_folder, write_json
from pmd.core.manifest import write_model
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.models.families import Cropped, check_width, stored_settings
from pmd.models.fused.fusion import Fusion
from pmd.models.fused.scorer import FusedScorer
from pmd.models.fused.weights import FusionWeights
from pmd.models.kge import folder as kge
from pmd.models.kge.as_products import product_tables
from pmd.models.kge.folder import Vocabulary
from pmd.models.kge.model import KgeModel
from pmd.models.text import folder as text
from pmd.settings.catalogue import FAMILIES

NOT_COPIED = ("index", ".*", "manifest.json")
"""Files in the folders of both models that a fused one has no use for."""


@dataclass(frozen=True, eq=False)
class Structure:
    """The embedding model of a folder, its vocabulary, and the weights and counts beside it."""

    model: KgeModel
    vocabulary: Vocabulary
    weights: FusionWeights
    known: np.ndarray
    degrees: np.ndarray

    @classmethod
    def of(cls, model: KgeModel, graph: KnowledgeGraph, weights: FusionWeights) -> Structure:
        """That of the graph on which the model was trained."""
        degrees = np.bincount(graph.train[:, [0, 2]].flatten().numpy(), minlength=graph.num_entities)
        return cls(model, graph, weights, degrees > 0, degrees)

    def fusion(self, graph: KnowledgeGraph | Vocabulary) -> tuple[Fusion, np.ndarray]:
        """What a fused model knows of a graph, and the structure parts (num_entities, width) of its entities."""
        tables, vocabulary = product_tables(self.model), self.vocabulary
        rows = _rows(vocabulary.entity_ids, vocabulary.entity_names, graph.entity_ids, graph.entity_names)
        relations = _rows(vocabulary.relation_ids, vocabulary.relation_names, graph.relation_ids, graph.relation_names)
        questions = np.concatenate([relations, np.where(relations < 0, -1, relations + len(vocabulary.relation_ids))])
        known = (rows >= 0) & self.known[rows]
        degrees, weights = np.where(rows >= 0, self.degrees[rows], 0), self.weights.take(questions)
        fusion = Fusion(tables.take(questions), weights, known, questions >= 0, degrees)
        entities = self.model.entity_embeddings(torch.arange(self.model.num_entities)).detach().float().cpu().numpy()
        return fusion, fusion.candidates(entities[rows])


def _rows(ids: Any, names: Any, wanted_ids: Any, wanted_names: Any) -> np.ndarray:
    """The position of every wanted pair of an id and a name; −1 where there is none."""
    positions = {pair: position for position, pair in enumerate(zip(ids, names))}
    return np.array([positions.get(pair, -1) for pair in zip(wanted_ids, wanted_names)], dtype=np.int64)


def save(
    folder: Path,
    text_folder: str | Path,
    structure_folder: str | Path,
    structure: Structure,
    facts: Mapping[str, Any],
) -> None:
    """Write a model folder, aside and renamed, from the folders of both parts; `facts` are what config.json says beside
    the sizes."""
    columns = {**structure.weights.columns(), "known": structure.known.astype(np.uint8), "degrees": structure.degrees}

    def fill(aside: Path) -> None:
        for name, source in (("text", text_folder), ("structure", structure_folder)):
            shutil.copytree(source, aside / name, ignore=shutil.ignore_patterns(*NOT_COPIED))
        write_settings(aside, structure, facts)
        save_file(
            {name: np.ascontiguousarray(column) for name, column in columns.items()}, aside / "weights.safetensors"
        )
        write_vocabulary(aside, structure.vocabulary)

    write_model(folder, fill)


def write_settings(folder: Path, structure: Structure, facts: Mapping[str, Any]) -> None:
    """Write config.json, with the sizes of the parts in the folder."""
    text_model, tables = text.load_model(folder / "text").model, product_tables(structure.model)
    sizes = {"dim": text_model.dim + tables.width, "text_dim": text_model.dim, "structure_dim": structure.model.dim}
    write_json(folder / "config.json", {"model_type": FAMILIES["fused"].model_type, **facts, **sizes})


def load_structure(folder: str | Path) -> Structure:
    """The embedding model of a fused model's folder, and what stands beside it. PmdError if there is none."""
    settings, file = stored_settings(folder), Path(folder) / "weights.safetensors"
    model, vocabulary = kge.load_named(Path(folder) / "structure")
    try:
        with safe_open(file, "numpy") as stored:
            weights = FusionWeights.stored(stored.get_tensor, settings)
            return Structure(model, vocabulary, weights, stored.get_tensor("known") > 0, stored.get_tensor("degrees"))
    except (OSError, KeyError, SafetensorError) as error:
        raise PmdError(f"'{file}' cannot be read ({first_line(error)}); restore it, or fuse the models anew") from None


def load_model(folder: str | Path) -> tuple[text.TextModel, Structure]:
    """Both parts of the model of a folder. PmdError if one is missing."""
    return text.load_model(Path(folder) / "text"), load_structure(folder)


def crop(folder: str | Path, width: int | None, out: str | Path, structure_width: int | None = None) -> Cropped:
    """Write a model of fewer dimensions of either part, or of both, to a new folder, with the same weights.

    Raises:
        PmdError: if there is no such model, if a part has fewer dimensions, or if `out` is not new.
    """
    folder, settings = Path(folder), stored_settings(folder)
    structure, out = load_structure(folder), new_folder(out)
    width, structure_width = width or settings["text_dim"], structure_width or settings["structure_dim"]
    check_width(width, settings["text_dim"])
    check_width(structure_width, settings["structure_dim"])

    def fill(aside: Path) -> None:
        text_widths.append(text.crop(folder / "text", width, aside / "text").widths)
        small = structure.model.crop(structure_width)
        kge.save(aside / "structure", small, structure.vocabulary)
        shutil.copyfile(folder / "weights.safetensors", aside / "weights.safetensors")
        write_settings(aside, replace(structure, model=small), settings)
        write_vocabulary(aside, structure.vocabulary)

    text_widths: list[Any] = []
    write_model(out, fill)
    words = f"{width} of {settings['text_dim']} dimensions of the text, {structure_width} of {settings['structure_dim']} of the structure"
    return Cropped(text_widths[0], words)


def scorer(
    folder: str | Path,
    graph: KnowledgeGraph,
    *,
    device: torch.device | str = "cpu",
    cache: str | None = None,
    shared: bool = False,
) -> FusedScorer:
    """A trained model as a scorer of any graph: entities that the structure has not seen are read alone. PmdError if there
    is no such model."""
    texts = text.scorer(Path(folder) / "text", graph, device=device, cache=cache, shared=shared)
    return fused(texts, load_structure(folder), graph)


def fused(scores: text.TextScorer, structure: Structure, graph: KnowledgeGraph) -> FusedScorer:
    """A scorer of a graph from those of its parts."""
    return FusedScorer(scores, structure.model, *structure.fusion(graph))
