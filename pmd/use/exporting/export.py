"""Trained models as folders that other programs read without this package.

A text model becomes ONNX graphs (`pmd.use.exporting.onnx`) or, for its entities, a model of sentence-transformers; an embedding model
becomes tables in safetensors and TSV. The README.md in a folder says what its files hold and how to use them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.files import write_json, write_text
from pmd.data.graphs.files.tsv import write_columns
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.sources import write_vocabulary
from pmd.data.texts.graph_text import GraphText, relation_texts, whole_texts
from pmd.models.kge.folder import Vocabulary
from pmd.models.kge.model import KgeModel
from pmd.models.text.bi_encoder import BiEncoder, new_encoder
from pmd.models.text.folder import TextModel
from pmd.models.text.start import save_tokenizer

SAMPLE = 64
"""About how many texts of each encoder are compared with the model."""


def write_texts(folder: Path, text_model: TextModel, graph: KnowledgeGraph, text: GraphText) -> None:
    """Write the tokenizer, set to truncate and pad as in training, the vocabulary of the graph, and texts.tsv.

    Raises:
        PmdError: if from these texts the tokenizer makes other tokens than the model reads, which are those of `text`.
    """
    save_tokenizer(text_model.tokenizer, folder)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise PmdError(
            f"the tokenizer, a {type(text_model.tokenizer).__name__}, has no tokenizer.json; export needs one"
        )
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(text_model.reading.max_length, strategy="only_first")
    tokenizer.enable_padding(pad_id=text_model.tokenizer.pad_token_id, pad_token=text_model.tokenizer.pad_token)
    tokenizer.save(str(file))
    write_vocabulary(folder, graph)
    texts = whole_texts(graph, text_model.reading)
    check_texts(tokenizer, texts, relation_texts(graph.relation_names), text)
    write_columns(folder / "texts.tsv", [graph.entity_ids, texts])


def check_texts(tokenizer: Tokenizer, texts: Sequence[str], relations: Sequence[str], text: GraphText) -> None:
    """Compare the tokens that other programs make of a sample of texts of all lengths, and of queries, with the model's."""
    sample, relation = text.sample(SAMPLE), int(np.argmin(text.relations.lengths))  # a long one is cut in training
    queries = text.queries(sample, np.full(len(sample), relation))
    for entity, alone, asked in zip(sample, text.entities(sample).ids, queries.ids):
        pair = tokenizer.encode(texts[entity], relations[relation])
        if tokenizer.encode(texts[entity]).ids != alone.tolist() or pair.ids != asked.tolist():
            raise PmdError(
                f"to: from the text {texts[entity]!r:.60} other programs would make other tokens than the model reads; "
                "change it, or train with the tokenizer of another encoder"
            )


def template_values(text_model: TextModel, graph: KnowledgeGraph) -> dict[str, Any]:
    """What the templates say of a text model; `head` and `relation` are an example of a query."""
    head, relation, _ = next(split for split in (graph.test, graph.train) if len(split))[0].tolist()
    return {
        "graph": graph.name,
        "num_entities": graph.num_entities,
        "dim": text_model.model.dim,
        "widths": text_model.model.widths,
        "layers": text_model.model.depth,
        "reading": text_model.reading,
        "head": graph.entity_ids[head],
        "relation": graph.relation_names[relation],
    }


def write_readme(folder: Path, template: str, **values: Any) -> None:
    """Write README.md from a template of this package."""
    environment = Environment(
        loader=PackageLoader("pmd.use.exporting", "."), undefined=StrictUndefined, trim_blocks=True
    )
    write_text(folder / "README.md", environment.get_template(template).render(values) + "\n")


def write_sentence_transformers(
    folder: Path, text_model: TextModel, text: GraphText, graph: KnowledgeGraph, name: str
) -> None:
    """Write the entity encoder as a model of sentence-transformers.

    All its versions since 2.0 read these files. They are written without it, so that it need not be installed.
    """
    model, encoder = text_model.model, text_model.model.encoder("entity")
    write_texts(folder, text_model, graph, text)
    if model.depth == 0:
        write_static(folder, model, text.room)
        return write_readme(folder, "sentence_transformers.md.jinja", name=name, **template_values(text_model, graph))
    check_plain(model)
    encoder.save_pretrained(folder)
    pooling = {"word_embedding_dimension": model.hidden_size, "pooling_mode_mean_tokens": True}
    pooling |= {f"pooling_mode_{kind}": False for kind in ("cls_token", "max_tokens", "mean_sqrt_len_tokens")}
    modules: list[tuple[str, dict[str, Any] | None]] = [("Transformer", None), ("Pooling", pooling)]
    if model.dim < model.hidden_size:
        # Its own option, `truncate_dim`, crops after the normalisation: vectors would not have length 1.
        dense = {"in_features": model.hidden_size, "out_features": model.dim, "bias": False}
        modules.append(("Dense", dense | {"activation_function": "torch.nn.modules.linear.Identity"}))
    modules.append(("Normalize", None))
    for path, (kind, config) in zip(write_modules(folder, [kind for kind, _ in modules]), modules):
        if config is not None:
            write_json(folder / path / "config.json", config)
        if kind == "Dense":
            save_file({"linear.weight": torch.eye(model.dim, model.hidden_size)}, folder / path / "model.safetensors")
    settings: dict[str, Any] = {"max_seq_length": text_model.reading.max_length, "do_lower_case": False}
    if hasattr(encoder, "pooler"):
        settings["model_args"] = {"add_pooling_layer": False}  # else it warns that the pooler's weights are missing
    write_json(folder / "sentence_bert_config.json", settings)
    write_readme(folder, "sentence_transformers.md.jinja", name=name, **template_values(text_model, graph))


def write_modules(folder: Path, kinds: Sequence[str]) -> list[str]:
    """Write modules.json, and make a folder for each module but the first, which is in the whole's own; their paths."""
    paths = [f"{index}_{kind}" if index else "" for index, kind in enumerate(kinds)]
    listed = []
    for index, (path, kind) in enumerate(zip(paths, kinds)):
        (folder / path).mkdir(exist_ok=True)
        listed.append({"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"})
    write_json(folder / "modules.json", listed)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    return paths


def write_static(folder: Path, model: BiEncoder, room: int) -> None:
    """Write the word pieces of a grade 0 as a `StaticEmbedding`, which averages the first `room` of a text, without the
    special ones around it."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(room)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_modules(folder, ["StaticEmbedding", "Normalize"])
    pieces = model.encoder("entity").pieces.weight.detach().clone()
    pieces[model.config.encoder.special] = 0
    save_file({"embedding.weight": pieces[:, : model.dim].contiguous()}, folder / "model.safetensors")


def check_plain(model: BiEncoder) -> None:
    """Refuse encoders that `transformers` would build otherwise from their config alone: students of ModernBERT that
    begin with a later layer of the checkpoint than its first."""
    config = model.config.encoder
    with torch.device("meta"):
        plain = new_encoder(config, list(range(model.depth)))
    if plain.state_dict().keys() != model.encoder("entity").state_dict().keys():
        raise PmdError(
            f"to: other programs would build this '{config.model_type}' encoder, layers {model.config.layers} of its "
            "checkpoint, with other norms; export to onnx, or train a student that begins with layer 0"
        )


def write_embeddings(folder: Path, model: KgeModel, vocabulary: Vocabulary, name: str) -> None:
    """Write the embeddings of a model: embeddings.safetensors, and the same numbers as TSV."""
    entities = model.entity_vectors(torch.arange(model.num_entities))
    relations = model.relations.detach().flatten(1).cpu()
    inverse = [f"inverse {key}" for key in vocabulary.relation_ids] if model.reciprocal else []
    settings = {"interaction": model.name, "dim": model.dim, "norm": model.norm or "none"}
    tables = {"entities": entities.contiguous(), "relations": relations.contiguous()}
    save_file(tables, folder / "embeddings.safetensors", {key: str(value) for key, value in settings.items()})
    write_table(folder / "entity_embeddings.tsv", vocabulary.entity_ids, entities)
    write_table(folder / "relation_embeddings.tsv", [*vocabulary.relation_ids, *inverse], relations)
    labels = [label or key for key, label in zip(vocabulary.entity_ids, vocabulary.entity_names)]
    write_columns(folder / "metadata.tsv", [["id", *vocabulary.entity_ids], ["name", *labels]])
    write_columns(folder / "relations.tsv", [vocabulary.relation_ids, vocabulary.relation_names])
    shapes = {f"{key}_shape": tuple(table.shape) for key, table in tables.items()}
    write_readme(
        folder,
        "embeddings.md.jinja",
        name=name,
        **settings,
        **shapes,
        formula=inspect.getdoc(type(model.interaction)),
        complex=model.interaction.complex_parts,
        reciprocal=model.reciprocal,
        unit=model.unit_entities,
    )


def write_table(file: Path, ids: Sequence[str], table: Tensor) -> None:
    """Write a table (n, d) as TSV: an id, then its row with as many digits as fp32 needs to be read back exactly."""
    with open(file, "w", encoding="utf-8", newline="\n") as lines:
        for key, row in zip(ids, table.tolist()):
            lines.write("\t".join([key, *(f"{number:.9g}" for number in row)]) + "\n")
