"""Labels alone: plain fine-tuning of a BERT, and a supernet that draws one of its widths for each step.

The supernet is that of HAT (Wang et al., ACL 2020), without its search: sub-models share the leading parts of all
weights, a step trains one of them, drawn evenly (by all processes alike), on the labels. So in as many epochs each of n
sub-models reads one in n of the examples that it reads in MED, whose step trains all: that is the method, and a step
costs less. One term, `hard`: cross-entropy, or squared error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedModel

from pmd.core.distributed import broadcast_first
from pmd.core.types import LossTerms, Objective
from pmd.data.glue import GlueBatch
from pmd.losses.labels import label_loss
from pmd.models.bert.croppable import CroppableBertForSequenceClassification
from pmd.settings.glue import GlueConfig, GlueStageConfig


@dataclass(frozen=True, eq=False)
class BertSetup:
    """What a stage of a GLUE run trains with; every objective takes what it needs (`for_stage`).

    Args:
        student: the model to train.
        teacher: loads the teacher, plain; only for a stage that has one.
        teacher_logits: the teacher's logits (N, C) for the N examples of the training split.
        config: of the run.
        stage: every setting filled in.
    """

    student: BertForSequenceClassification
    teacher: Callable[[], BertForSequenceClassification]
    teacher_logits: Callable[[], Tensor]
    config: GlueConfig
    stage: GlueStageConfig


class FineTuning(Objective):
    """One model and the labels.

    Args:
        model: with as many labels as the task has classes, or one for a regression.
    """

    def __init__(self, model: BertForSequenceClassification):
        super().__init__()
        self.model, self.weights = model, {"hard": 1.0}

    @classmethod
    def for_stage(cls, setup: BertSetup) -> FineTuning:
        return cls(setup.student)

    def forward(self, batch: GlueBatch) -> LossTerms:
        return {"hard": label_loss(read(self.model, batch)[None], batch.labels)[0]}


def read(model: BertForSequenceClassification, batch: GlueBatch) -> Tensor:
    """The fp32 logits (b, C) of a model of one size."""
    texts, first = texts_of(batch, model)
    hidden = model.bert(**texts).last_hidden_state
    pooled = model.bert.pooler(hidden if first is None else hidden[first[0], first[1], None])
    return model.classifier(model.dropout(pooled)).float()


def read_widths(model: CroppableBertForSequenceClassification, batch: GlueBatch, widths: Sequence[int]) -> Tensor:
    """The fp32 logits (n, b, C) of sub-models."""
    texts, first = texts_of(batch, model)
    return model.forward_widths(**texts, first=first, widths=widths).float()


def texts_of(batch: GlueBatch, model: PreTrainedModel) -> tuple[dict[str, Tensor], Tensor | None]:
    """What a model reads of a batch, and where texts begin: packed, or padded, every row a text (None), for an attention
    kernel that takes no mask of true and false for pairs of tokens."""
    if model.config._attn_implementation == "sdpa":
        return batch.packed.inputs, batch.packed.first
    return batch.inputs, None


class Supernet(Objective):
    """All sub-models of `model.widths`, one in each step. `model` is the model to train."""

    def __init__(self, model: CroppableBertForSequenceClassification):
        super().__init__()
        self.model, self.weights = model, {"hard": 1.0}

    @classmethod
    def for_stage(cls, setup: BertSetup) -> Supernet:
        return cls(setup.student)

    def forward(self, batch: GlueBatch) -> LossTerms:
        place = broadcast_first(torch.randint(len(self.model.widths), ()), batch.labels.device)
        logits = read_widths(self.model, batch, [self.model.widths[int(place)]])  # (1, b, C)
        return {"hard": label_loss(logits, batch.labels)[0]}
