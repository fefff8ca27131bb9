"""The BERT of a GLUE stage: where it starts, how it is ordered and cut to size, how it is saved and loaded again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from pmd.core.errors import PmdError, first_line
from pmd.core.files import new_folder
from pmd.core.manifest import write_model
from pmd.core.packages import model_source
from pmd.core.quiet import quiet
from pmd.models.bert.croppable import (
    CroppableBert,
    CroppableBertConfig,
    CroppableBertForSequenceClassification,
    check_bert_widths,
)
from pmd.models.families import Cropped, stored_settings, write_training
from pmd.models.text.start import load_tokenizer, save_tokenizer
from pmd.settings.glue import GlueModelConfig

Model = BertForSequenceClassification | CroppableBertForSequenceClassification


def full_config(model: GlueModelConfig) -> CroppableBertConfig:
    """The configuration of the BERT to start from. PmdError if there is none, or if it has no such widths or length."""
    source = model_source(model.name, "model.name")
    try:
        config = CroppableBertConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise PmdError(
            f"model.name: cannot load '{model.name}' ({first_line(error)}); give a Hub id, a folder or "
            "package:NAME/FOLDER of a BERT"
        ) from None
    config.widths = check_bert_widths(model.widths or [config.hidden_size], config, full=True, option="model.widths")
    if model.max_length > config.max_position_embeddings:
        raise PmdError(
            f"model.max_length: {model.max_length} is more than the {config.max_position_embeddings} that "
            f"'{model.name}' can read"
        )
    return config


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a BERT. PmdError if it has none, or that of another model."""
    try:
        source = model_source(name, "model.name")
        return load_tokenizer(source, CroppableBertConfig.from_pretrained(source))
    except PmdError:
        raise
    except (OSError, ValueError) as error:
        raise PmdError(
            f"model.name: '{name}' has no tokenizer ({first_line(error)}); give a folder with tokenizer files"
        ) from None


def save(
    folder: Path, model: Model, tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any] | None = None
) -> None:
    """An ordinary BERT folder with its tokenizer; the widths of a croppable model stand in its config.

    Args:
        training: how the model came to be, for training.json.
    """

    def fill(aside: Path) -> None:
        model.save_pretrained(aside)
        save_tokenizer(tokenizer, aside)
        write_training(aside, training)

    write_model(folder, fill)


def load_model(folder: str | Path, *, plain: bool = False) -> Model:
    """The model of a folder that `save` wrote; a croppable one is croppable again, unless `plain`."""
    if plain:
        return BertForSequenceClassification.from_pretrained(folder)
    model = CroppableBertForSequenceClassification.from_pretrained(str(folder))
    return model if len(model.widths) > 1 else model.crop(model.config.hidden_size)


def crop(folder: str | Path, width: int, out: str | Path) -> Cropped:
    """Write the leading part of a BERT, with or without a classifier, to a new folder: one that `transformers` loads.

    Raises:
        PmdError: if there is no such model, if it has no such part, or if `out` is not new.
    """
    quiet()
    classifies = any("SequenceClassification" in name for name in stored_settings(folder).get("architectures") or [])
    whole = (CroppableBertForSequenceClassification if classifies else CroppableBert).from_pretrained(str(folder))
    small = whole.crop(width)
    save(new_folder(out), small, tokenizer_of(str(folder)))
    return Cropped.of(whole, small, width, whole.config.hidden_size)
