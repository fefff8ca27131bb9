"""The untrained BERT of a GLUE stage: where it starts, how it is ordered and cut to size."""

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
from pmd.settings.glue import GlueModelConfig, GlueStageConfig
from pmd.settings.glue_stages import is_croppable
from pmd.settings.tasks import GlueTask

ORDER_EXAMPLES, ORDER_BATCH = 512, 32
"""So many examples, and so many at a time, judge what is worth most (`order: taylor`), whatever a stage's batches are."""


def check_stages(stages: Sequence[GlueStageConfig], full: CroppableBertConfig, task: GlueTask) -> None:
    """Refuse what cannot be made of the BERT, before the first stage is trained. PmdError says which stage."""
    if len(task.columns) > full.type_vocab_size:
        raise PmdError(f"model.name: the BERT knows no second segment, and {task.title} has two texts; choose another")
    size_of = {stage.name: stage.width or full.hidden_size for stage in stages}
    for stage in stages:
        place, width = f"stages ({stage.name})", stage.width or full.hidden_size
        check_bert_widths([width], full, option=f"{place}.width")
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
    if not is_croppable(stage):
        model = model.crop(stage.width or model.config.hidden_size)
        if stage.layers:
            model = shallower(model, stage.layers)
    return model.train()


def _losses(model: Model, batches: Iterable[GlueBatch]) -> Iterator[Tensor]:
    for batch in batches:
        batch = batch.to(model.device)
        yield label_loss(model(**batch.inputs).logits[None], batch.labels)[0]
