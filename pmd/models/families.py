"""What kind of model a config.json is of. Loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pmd.core.errors import PmdError

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


def refuse_bert(settings: Mapping[str, Any], model: object) -> None:
    """PmdError if the settings are of a BERT, which scores no triples."""
    if kind_of(settings) == "bert":
        raise PmdError(
            f"'{model}' is a BERT and knows no triples; transformers loads it, and if a GLUE run made it, its scores are in "
            "the run's table.md"
        )
