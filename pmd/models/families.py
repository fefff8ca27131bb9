"""What kind of model a config.json is of. Loads nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pmd.core.errors import PmdError
from pmd.core.files import read_object

Kind = Literal["text", "embedding", "bert"]

KINDS: dict[Kind, str] = {"text": "a text model", "embedding": "an embedding model", "bert": "a BERT"}
"""What they are called."""

BI_ENCODER = "pmd_bi_encoder"
"""The `model_type` of text models."""


def kind_of(settings: Mapping[str, Any]) -> Kind | None:
    """The kind of model that the settings of a config.json are of; None if it is none of them."""
    if "interaction" in settings:
        return "embedding"
    return {BI_ENCODER: "text", "bert": "bert"}.get(settings.get("model_type"))


def write_training(folder: Path, training: Mapping[str, Any] | None) -> None:
    """Note beside a model how it came to be, in training.json."""
    if training:
        (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")


def training_of(folder: Path) -> dict[str, Any]:
    """How the model of a folder came to be; empty if that was not noted."""
    return read_object(folder / "training.json", "restore it, or remove it")


def refuse_bert(settings: Mapping[str, Any], model: object) -> None:
    """PmdError if the settings are of a BERT, which scores no triples."""
    if kind_of(settings) == "bert":
        raise PmdError(
            f"'{model}' is a BERT and knows no triples; transformers loads it, and if a GLUE run made it, its scores are in "
            "the run's table.md"
        )
