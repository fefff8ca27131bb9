"""Trained models for other programs: folders that are read without this package.

Text models become ONNX graphs or, for their entities, a sentence-transformers model; embedding models numbers in
safetensors and TSV. Each folder has a README.md with what it holds and how to use it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.tsv import write_columns
from pmd.data.texts.graph_text import Reading, whole_texts
from pmd.models.kge.folder import Vocabulary
from pmd.models.kge.model import KgeModel
from pmd.models.kge.vectors import entity_vectors
from pmd.models.text.bi_encoder import BiEncoder


@dataclass(frozen=True, eq=False)
class ExportedText:
    """A text model to be exported, and the graph that it reads."""

    model: BiEncoder
    tokenizer: PreTrainedTokenizerBase
    reading: Reading
    graph: KnowledgeGraph

    def write_texts(self, folder: Path) -> None:
        """The tokenizer, cutting and padding as the encoders want it, the vocabulary, and texts.tsv."""
        self.tokenizer.save_pretrained(folder)
        file, graph = folder / "tokenizer.json", self.graph
        if not file.is_file():
            raise PmdError(f"the tokenizer, a {type(self.tokenizer).__name__}, has no tokenizer.json; export needs one")
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.enable_truncation(self.reading.max_length, strategy="only_first")
        tokenizer.enable_padding(pad_id=self.tokenizer.pad_token_id, pad_token=self.tokenizer.pad_token)
        tokenizer.save(str(file))
        write_columns(folder / "entities.tsv", [graph.entity_ids, graph.entity_names, graph.entity_descriptions])
        write_columns(folder / "relations.tsv", [graph.relation_ids, graph.relation_names])
        write_columns(folder / "texts.tsv", [graph.entity_ids, whole_texts(graph, self.reading)])

    @property
    def facts(self) -> dict[str, Any]:
        """What the templates say of it."""
        graph = self.graph
        head, relation, _ = next(split for split in (graph.test, graph.train) if len(split))[0].tolist()
        return {
            "graph": graph.name,
            "num_entities": graph.num_entities,
            "dim": self.model.dim,
            "widths": self.model.widths,
            "layers": self.model.depth,
            "reading": self.reading,
            "head": graph.entity_ids[head],
            "relation": graph.relation_names[relation],
        }


def write_readme(folder: Path, template: str, **facts: Any) -> None:
    """README.md from a template of this package."""
    environment = Environment(loader=PackageLoader("pmd.use", "."), undefined=StrictUndefined, trim_blocks=True)
    write_text(folder / "README.md", environment.get_template(template).render(facts) + "\n")


def write_sentence_transformers(folder: Path, exported: ExportedText, name: str) -> None:
    """The entity encoder as a model of sentence-transformers.

    The files are those that its versions since 2.0 read, written without it: its own way of writing them changes.
    """
    model, kinds = exported.model, ["Transformer", "Pooling", "Normalize"]
    model.encoder("entity").save_pretrained(folder)
    exported.write_texts(folder)
    pooling = {"word_embedding_dimension": model.hidden_size, "pooling_mode_mean_tokens": True}
    pooling |= {f"pooling_mode_{kind}": False for kind in ("cls_token", "max_tokens", "mean_sqrt_len_tokens")}
    parts: dict[str, dict[str, Any] | None] = {"Pooling": pooling}
    if model.dim < model.hidden_size:
        # Its own `truncate_dim` crops after everything else, so that what is left would not have length 1.
        kinds.insert(2, "Dense")
        parts["Dense"] = {"in_features": model.hidden_size, "out_features": model.dim, "bias": False}
        parts["Dense"]["activation_function"] = "torch.nn.modules.linear.Identity"
    modules = []
    for place, kind in enumerate(kinds):
        path = "" if kind == "Transformer" else f"{place}_{kind}"
        modules.append({"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"})
        (folder / path).mkdir(exist_ok=True)
        if kind in parts:
            write_json(folder / path / "config.json", parts[kind])
        if kind == "Dense":
            save_file({"linear.weight": torch.eye(model.dim, model.hidden_size)}, folder / path / "model.safetensors")
    write_json(folder / "modules.json", modules)
    settings = {"max_seq_length": exported.reading.max_length, "do_lower_case": False}
    if hasattr(model.encoder("entity"), "pooler"):
        settings["model_args"] = {"add_pooling_layer": False}  # or it warns of weights that nobody needs
    write_json(folder / "sentence_bert_config.json", settings)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    write_readme(folder, "sentence_transformers.md.jinja", name=name, **exported.facts)


def write_embeddings(folder: Path, model: KgeModel, vocabulary: Vocabulary, name: str) -> None:
    """The numbers of an embedding model: embeddings.safetensors, and the same as tables of text."""
    entities = entity_vectors(model, torch.arange(model.num_entities))
    relations = model.relations.detach().flatten(1).cpu()
    inverse = [f"inverse {name}" for name in vocabulary.relation_ids] if model.reciprocal else []
    settings = {"interaction": model.name, "dim": model.dim, "norm": model.norm or "none"}
    stored = {"entities": entities.contiguous(), "relations": relations.contiguous()}
    save_file(stored, folder / "embeddings.safetensors", {name: str(value) for name, value in settings.items()})
    write_numbers(folder / "entity_embeddings.tsv", vocabulary.entity_ids, entities)
    write_numbers(folder / "relation_embeddings.tsv", [*vocabulary.relation_ids, *inverse], relations)
    names = [name or key for key, name in zip(vocabulary.entity_ids, vocabulary.entity_names)]
    write_columns(folder / "metadata.tsv", [["id", *vocabulary.entity_ids], ["name", *names]])
    write_columns(folder / "relations.tsv", [vocabulary.relation_ids, vocabulary.relation_names])
    shapes = {f"{name}_shape": tuple(table.shape) for name, table in stored.items()}
    write_readme(
        folder,
        "embeddings.md.jinja",
        name=name,
        **settings,
        **shapes,
        formula=inspect.getdoc(type(model.interaction)),
        parts=model.interaction.entity_parts,
        complex=model.interaction.complex_parts,
        reciprocal=model.reciprocal,
        unit=model.unit_entities,
    )


def write_numbers(file: Path, ids: Sequence[str], table: Tensor) -> None:
    """A line for each row of a table (n, d): its id and its numbers, to the last bit of fp32, by tabs."""
    with open(file, "w", encoding="utf-8", newline="\n") as lines:
        for key, row in zip(ids, table.tolist()):
            lines.write("\t".join([key, *(f"{number:.9g}" for number in row)]) + "\n")
