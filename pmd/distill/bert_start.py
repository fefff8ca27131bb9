"""The untrained BERT of a GLUE stage: its weights, the order of its units, and its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pmd.core.errors import PmdError
from pmd.data.glue import GlueBatch
from pmd.losses.labels import label_loss
from pmd.models.bert.croppable import CroppableBertConfig, CroppableBertForSequenceClassification, check_bert_widths
from pmd.models.bert.folder import Model
from pmd.models.bert.importance import magnitude, reorder_, taylor
from pmd.models.text.students import shallower
from pmd.settings.catalogue import GlueTask
from pmd.settings.glue import GlueModelConfig, GlueStageConfig
from pmd.settings.stages.glue import is_croppable

ORDER_EXAMPLES, ORDER_BATCH = 512, 32
"""Examples, and examples at a time, that importance is judged by (`order: taylor`), whatever the batches of the stage are."""


def check_stages(stages: Sequence[GlueStageConfig], full: CroppableBertConfig, task: GlueTask) -> None:
    """PmdError, with the stage, for a size that this BERT cannot have; called before the first stage is trained."""
    if len(task.columns) > full.type_vocab_size:
        raise PmdError(
            f"model.name: the BERT has no second segment, but {task.title} has two texts; choose another BERT"
        )
    size_of = {stage.name: stage.width or full.hidden_size for stage in stages}
    for stage in stages:
        key, width = f"stages ({stage.name})", stage.width or full.hidden_size
        check_bert_widths([width], full, option=f"{key}.width")
        if stage.width == full.hidden_size:
            raise PmdError(f"{key}.width: {width} is that of the whole BERT; leave it out")
        if (stage.layers or 1) > full.num_hidden_layers:
            raise PmdError(
                f"{key}.layers: {stage.layers} of a BERT of {full.num_hidden_layers}; "
                f"choose 1 to {full.num_hidden_layers}"
            )
        heads = full.num_attention_heads * width // full.hidden_size
        if stage.method == "minilm" and size_of[stage.teacher] % heads:
            raise PmdError(
                f"{key}.width: the teacher's {size_of[stage.teacher]} dimensions cannot be split into the {heads} heads of "
                f"its student; choose a width whose number of heads divides {size_of[stage.teacher]}"
            )


def croppable(
    source: str, config: GlueModelConfig, task: GlueTask, labels: np.ndarray
) -> CroppableBertForSequenceClassification:
    """A BERT with the task's labels; a classifier that it lacks, or has for other labels, is drawn at random.

    For a regression the bias of such a classifier starts as the mean of `labels` (N,). If it starts as 0, the weights must
    learn the mean, and a crop, which has part of the weights, predicts part of it: on 2,000 examples of STS-B, after two
    epochs, the full MiniLM scores 0.70 from 0 and 0.80 from the mean, and MED's sub-models of 64, 128, 256 and 384 dimensions
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
    mismatched = sorted(name for name, *_ in loading["mismatched_keys"] if "classifier." not in name)
    if mismatched:
        raise PmdError(
            f"model.name: {mismatched[0]} of '{source}' does not have the shape of its config; repair the folder"
        )
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
        reorder_(model, magnitude(model), ["hidden"])  # for heads and neurons the weights alone say too little
    elif stage.order == "taylor":
        reorder_(model.eval(), taylor(model, _losses(model, batches())))
    if not is_croppable(stage):
        model = model.crop(stage.width or model.config.hidden_size)
        if stage.layers:
            model = shallower(model, stage.layers)
    return model.train()


def _losses(model: Model, batches: Iterable[GlueBatch]) -> Iterator[Tensor]:
    for batch in batches:
        batch = batch.to(model.device)
        yield label_loss(model(**batch.inputs).logits[None], batch.labels)[0]
