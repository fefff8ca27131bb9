"""The BERT of a GLUE stage: where it starts, how it is ordered and cut to size, how it is saved and loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification, PreTrainedTokenizerBase

from pmd.core.errors import PmdError
from pmd.core.glue_config import GlueModelConfig, GlueStageConfig
from pmd.core.glue_stages import CROPPABLE
from pmd.core.glue_tasks import GlueTask
from pmd.core.run import write_folder
from pmd.data.glue import GlueBatch
from pmd.losses.labels import label_loss
from pmd.models.bert_importance import magnitude, reorder_, taylor
from pmd.models.checkpoints import load_tokenizer, locate
from pmd.models.croppable_bert import CroppableBertConfig, CroppableBertForSequenceClassification, check_widths
from pmd.models.students import shallower

Model = BertForSequenceClassification | CroppableBertForSequenceClassification

ORDER_EXAMPLES, ORDER_BATCH = 512, 32
"""So many examples, and so many at a time, judge what is worth most (`order: taylor`), whatever a stage's batches are."""


def full_config(model: GlueModelConfig) -> CroppableBertConfig:
    """The configuration of the BERT to start from. PmdError if there is none, or if it has no such widths or length."""
    try:
        found = CroppableBertConfig.from_pretrained(locate(model.name, "model.name"))
    except PmdError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PmdError(
            f"model.name: cannot load '{model.name}' ({reason}); give a Hub id, a folder or package:NAME/FOLDER of a BERT"
        ) from None
    found.widths = check_widths(model.widths or [found.hidden_size], found, full=True, option="model.widths")
    if model.max_length > found.max_position_embeddings:
        raise PmdError(
            f"model.max_length: {model.max_length} is more than the {found.max_position_embeddings} that "
            f"'{model.name}' can read"
        )
    return found


def check_stages(stages: Sequence[GlueStageConfig], full: CroppableBertConfig, task: GlueTask) -> None:
    """Refuse what cannot be made of the BERT, before the first stage is trained. PmdError says which stage."""
    if len(task.columns) > full.type_vocab_size:
        raise PmdError(f"model.name: the BERT knows no second segment, and {task.title} has two texts; choose another")
    size_of = {stage.name: stage.width or full.hidden_size for stage in stages}
    for stage in stages:
        place, width = f"stages ({stage.name})", stage.width or full.hidden_size
        check_widths([width], full, option=f"{place}.width")
        if stage.width == full.hidden_size:
            raise PmdError(f"{place}.width: {width} is that of the whole BERT; leave it out")
        if (stage.layers or 1) > full.num_hidden_layers:
            raise PmdError(
                f"{place}.layers: {stage.layers} of a BERT of {full.num_hidden_layers}; "
                f"choose 1 to {full.num_hidden_layers}"
            )
        heads = full.num_attention_heads * width // full.hidden_size
        if stage.method == "minilm" and size_of[stage.teacher] % heads:
            raise PmdError(
                f"{place}.width: the teacher's {size_of[stage.teacher]} dimensions cannot be split into {heads} heads as its "
                "student's; choose a width whose heads divide it"
            )


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a BERT. PmdError if it has none, or that of another model."""
    try:
        source = locate(name, "model.name")
        return load_tokenizer(source, CroppableBertConfig.from_pretrained(source))
    except PmdError:
        raise
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PmdError(
            f"model.name: '{name}' has no tokenizer ({reason}); give a folder with tokenizer files"
        ) from None


def croppable(
    source: str, config: GlueModelConfig, task: GlueTask, labels: np.ndarray
) -> CroppableBertForSequenceClassification:
    """A BERT with the task's labels; a head that it lacks, or has for other labels, is drawn at random.

    Of a regression such a head begins with the mean of `labels` (N,). From 0 on the weights have to learn the mean, and a
    crop, which has a part of the weights, has a part of it: on 2,000 examples of STS-B, two epochs of each, the full
    MiniLM scores 0.70 from 0 on and 0.80 from the mean, and then MED's sub-models of 64, 128, 256 and 384 dimensions
    0.14, 0.07, 0.68, 0.75 and 0.10, 0.19, 0.74, 0.80 (seed 0).
    """
    settings = {"num_labels": task.num_labels, "problem_type": "single_label_classification"}
    if task.regression:
        settings["problem_type"] = "regression"
    else:
        settings["id2label"] = dict(enumerate(task.labels))
        settings["label2id"] = {label: i for i, label in enumerate(task.labels)}
    if config.dropout is not None:
        settings["hidden_dropout_prob"] = config.dropout
    model, loading = CroppableBertForSequenceClassification.from_pretrained(
        source, widths=config.widths, ignore_mismatched_sizes=True, output_loading_info=True, **settings
    )
    other = sorted(name for name, *_ in loading["mismatched_keys"] if "classifier." not in name)
    if other:
        raise PmdError(f"model.name: {other[0]} of '{source}' has not the shape that its config says; mend the folder")
    drawn = {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}
    if task.regression and "classifier.bias" in drawn:
        nn.init.constant_(model.classifier.bias, float(labels.mean()))
    return model


def first_model(
    stage: GlueStageConfig,
    source: str,
    config: GlueModelConfig,
    task: GlueTask,
    labels: np.ndarray,
    batches: Callable[[], Iterable[GlueBatch]],
    device: torch.device,
) -> Model:
    """The untrained model of a stage on its device, in training mode.

    Args:
        source: the weights to start from.
        labels: of the training split (N,).
        batches: labelled examples to judge importance by.
    """
    model = croppable(source, config, task, labels).to(device)
    if stage.order == "magnitude":
        reorder_(model, magnitude(model), ["hidden"])  # of heads and neurons weights alone say too little
    elif stage.order == "taylor":
        reorder_(model.eval(), taylor(model, _losses(model, batches())))
    if stage.method not in CROPPABLE:
        model = model.crop(stage.width or model.config.hidden_size)
        if stage.layers:
            model = shallower(model, stage.layers)
    return model.train()


def _losses(model: Model, batches: Iterable[GlueBatch]) -> Iterator[Tensor]:
    for batch in batches:
        batch = batch.to(model.device)
        yield label_loss(model(**batch.inputs).logits[None], batch.labels)[0]


def save(
    folder: Path, model: Model, tokenizer: PreTrainedTokenizerBase, training: Mapping[str, Any] | None = None
) -> None:
    """An ordinary BERT folder with its tokenizer; the widths of a croppable model stand in its config.

    Args:
        training: how the model came to be, for training.json.
    """

    def fill(aside: Path) -> None:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        if training:
            (aside / "training.json").write_text(json.dumps(training), encoding="utf-8")

    write_folder(folder, fill)


def load(folder: str | Path, *, plain: bool = False) -> Model:
    """The model of a folder that `save` wrote; a croppable one is croppable again, unless `plain`."""
    if plain:
        return BertForSequenceClassification.from_pretrained(folder)
    model = CroppableBertForSequenceClassification.from_pretrained(str(folder))
    return model if len(model.widths) > 1 else model.crop(model.config.hidden_size)
