"""Tasks of a few examples, and a random BERT that reads them: heads of 8, widths 8, 16 and 32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from pmd.data.glue import EncodedSplit, GlueSplit, load_glue
from pmd.models.bert.croppable import CroppableBertConfig, CroppableBertForSequenceClassification
from pmd.settings.catalogue import GlueTask, task_of

from .tiny import tiny_tokenizer

WIDTHS = [8, 16, 32]
WORDS = ["river", "town", "hub", "near", "point", "old", "north", "sea", "three", "gate"]


def rows_of(task: GlueTask, count: int, seed: int = 0, labelled: bool = True) -> list[dict]:
    """Examples whose label says which word their first text begins with."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        label = int(generator.integers(6 if task.regression else task.num_labels))
        tail = [" ".join(generator.choice(WORDS, int(generator.integers(2, 12)))) for _ in task.columns]
        texts = {column: f"{WORDS[label]} {text}" for column, text in zip(task.columns, tail)}
        rows.append({**texts, "label": label * (1.0 if task.regression else 1) if labelled else -1, "idx": 3 * i})
    return rows


def write_task(folder: Path, name: str, *, train: int = 24, valid: int = 12, test: int = 0) -> Path:
    """A folder of JSON lines of a task, as `load_glue` reads it."""
    task = task_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": (train, True), **dict.fromkeys(task.validation, (valid, True))}
    parts |= dict.fromkeys(task.test, (test, False)) if test else {}
    for seed, (split, (count, labelled)) in enumerate(parts.items()):
        lines = [json.dumps(row) + "\n" for row in rows_of(task, count, seed, labelled)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def tiny_config(**settings) -> CroppableBertConfig:
    return CroppableBertConfig(
        **{
            "vocab_size": len(tiny_tokenizer()),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "initializer_range": 0.3,  # large, so that texts and widths differ visibly
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "widths": WIDTHS,
            **settings,
        }
    )


def tiny_classifier(seed: int = 0, **settings) -> CroppableBertForSequenceClassification:
    torch.manual_seed(seed)
    return CroppableBertForSequenceClassification(tiny_config(**settings))


def write_bert(folder: Path, head: bool = False, **settings) -> Path:
    """A pretrained BERT with its tokenizer, so to say; with a `head` it has two labels already."""
    model = tiny_classifier(**settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name:  # not the ones and zeros of a fresh one
                parameter.add_(0.3 * torch.randn(parameter.shape))
    (model if head else model.bert).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_split(folder: Path, name: str, split: str = "train", **options) -> GlueSplit:
    return load_glue(str(write_task(folder, name, **options)), task_of(name)).splits[split]


def tiny_batch(folder: Path, name: str, size: int = 6):
    encoded = EncodedSplit(tiny_split(folder, name), tiny_tokenizer(), 24, str(folder / "cache"))
    return encoded(range(size))
