"""Shared by the benchmarks that try to break runs: a tiny run of every family, and the data that it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pmd.core.files import write_text

OFTEN = {
    "train.log_every": 1,
    "train.save_minutes": 0,
    "train.valid_every": 1,
    "train.threads": 1,
    "data.cache": "cache",
}
GRAPH = {**OFTEN, "data.path": "{data}/towns", "train.batch_size": 16, "evaluation.split": "test"}
KGE = {**GRAPH, "model.dim": 8, "loss.negatives": 4, "train.epochs": 3, "train.lr": 0.05}
ENCODER = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 16, "vocab_size": 120, "max_length": 16}
LEARNING = {"train.lr": 0.003, "structure": "null", "train.epochs": 2, "distill.epochs": 1}
TEXT = {**GRAPH, **{f"encoder.{key}": value for key, value in ENCODER.items()}, **LEARNING}
GRADES = '[{"name": "teacher"}, {"name": "grade2", "layers": 2, "mask_rate": 0.2}, {"name": "grade1", "layers": 1}]'
GLUE = {**OFTEN, "task": "rte", "data.path": "{data}/RTE", "model.name": "{data}/bert", "model.widths": "[8,16]"}
GLUE |= {
    "config": "{data}/empty.yaml",
    "model.max_length": 16,
    "train.epochs": 2,
    "train.lr": 0.01,
    "train.batch_size": 8,
    "evaluation.speed_rounds": 0,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("progressive", {**TEXT, "stages": GRADES, "contrastive.pre_batches": 1}),
    "text, widths": ("progressive", {**TEXT, "stages": GRADES, "encoder.widths": "[8,16]"}),
    "text, half frozen": (
        "progressive",
        {
            **GRAPH,
            **LEARNING,
            "encoder.name": "{data}/bert",
            "encoder.max_length": 16,
            "train.frozen_share": 0.5,
            "stages": '[{"name": "teacher"}, {"name": "grade1", "layers": 1}]',
        },
    ),
    "text, fused": ("progressive", {**TEXT, "stages": '[{"name": "teacher"}]', "structure": "{data}/complex.yaml"}),
    "embedding": ("train", {**KGE, "model.interaction": "rotate"}),
    "MED": ("train", {**KGE, "model.widths": "[2,4,8]", "med.recipe": "med", "loss.name": "logistic"}),
    "DualDE": ("train", {**KGE, "dual.students": "[4]"}),
    "GLUE": ("glue", GLUE),
}
"""By name, a command and its options; `{data}` is the folder that `write_data` fills."""


def write_data(folder: Path) -> None:
    """A graph of thirty towns, their countries and languages; settings of an embedding model; a GLUE task; a BERT."""
    countries = [f"{name}land" for name in ("Fin", "Ice", "Green", "Swazi", "Thai", "Po")]
    towns = [f"{country} town {i}" for country in countries for i in range(5)]
    names = [*countries, *towns, *(f"{country}ish" for country in countries)]
    triples = [(country, "speaks", f"{country}ish") for country in countries]
    triples += [(town, "in", town.split()[0]) for town in towns]
    spoken = [(town, "speaks", f"{town.split()[0]}ish") for town in towns]
    for split, part in (("train", triples + spoken[0::2]), ("valid", spoken[1::4]), ("test", spoken[3::4])):
        rows = (f"{names.index(head)}\t{relation}\t{names.index(tail)}\n" for head, relation, tail in part)
        write_text(folder / "towns" / f"{split}.tsv", "".join(rows))
    rows = (f"{i}\t{name}\ta place or a tongue, number {i}\n" for i, name in enumerate(names))
    write_text(folder / "towns" / "entities.tsv", "".join(rows))
    write_text(folder / "towns" / "relations.tsv", "in\tlies in\nspeaks\tspeaks\n")
    train = "{epochs: 2, batch_size: 16, lr: 0.1, valid_every: 1, log_every: 1, save_minutes: 0}"
    write_text(
        folder / "complex.yaml",
        f"model: {{interaction: complex, dim: 4}}\nloss: {{name: one_vs_all}}\ntrain: {train}\n",
    )
    for split, count in (("train", 32), ("validation", 12)):
        rows = ({"sentence1": names[i], "sentence2": names[i % 7], "label": i % 2, "idx": i} for i in range(count))
        write_text(folder / "RTE" / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(folder / "empty.yaml", "{}")
    write_bert(folder / "bert", folder / "towns")


def command_of(name: str, data: Path) -> list[str]:
    """The command of a family and its options; `data` is what `write_data` has filled."""
    command, options = FAMILIES[name]
    return [command, *(f"--{key}={value}".replace("{data}", str(data)) for key, value in options.items())]


def write_bert(folder: Path, graph: Path) -> None:
    """A BERT of two layers, 16 wide, whose tokenizer knows the words of a graph."""
    import torch
    from transformers import BertConfig, BertModel

    from pmd.data.graphs.sources import load_graph
    from pmd.models.text.start import train_wordpiece

    tokenizer = train_wordpiece(load_graph(graph), 120)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
