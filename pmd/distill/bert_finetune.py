"""Labels alone: plain fine-tuning of a BERT, and a supernet that draws one of its widths for each step.

The supernet is that of HAT (Wang et al., ACL 2020) without its search: sub-models share the leading parts of all
weights, and a step trains one of them on the labels, drawn evenly and the same in all processes. So in the same epochs
each of n sub-models reads one in n of the examples that it reads in MED, whose step trains all of them and costs more.
One term, `hard`: cross-entropy, or squared error for a regression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedModel

from pmd.core.distributed import broadcast_first
from pmd.core.types import LossTerms, Objective, weighed
from pmd.data.glue import GlueBatch
from pmd.losses.labels import label_loss
from pmd.models.bert.croppable import CroppableBertForSequenceClassification
from pmd.settings.glue import GlueConfig, GlueStageConfig


@dataclass(frozen=True, eq=False)
class BertSetup:
    """What a stage of a GLUE run trains with; every objective takes from it what it needs (`for_stage`).

    Args:
        student: the model to train.
        teacher: loads the teacher, a plain BERT; only for a stage that has one.
        teacher_logits: computes the teacher's logits (N, C) for the N examples of the training split.
        config: of the run.
        stage: with every setting filled in.
    """

    student: BertForSequenceClassification
    teacher: Callable[[], BertForSequenceClassification]
    teacher_logits: Callable[[], Tensor]
    config: GlueConfig
    stage: GlueStageConfig


class FineTuning(Objective):
    """A model of one size, and the labels.

    Args:
        model: with as many outputs as the task has classes, or one for a regression.
    """

    def __init__(self, model: BertForSequenceClassification):
        super().__init__()
        self.model, self.weights = model, {"hard": 1.0}

    @classmethod
    def for_stage(cls, setup: BertSetup) -> FineTuning:
        return cls(setup.student)

    def forward(self, batch: GlueBatch) -> LossTerms:
        return weighed({"hard": label_loss(batch_logits(self.model, batch)[None], batch.labels)[0]}, batch)


def batch_logits(model: BertForSequenceClassification, batch: GlueBatch) -> Tensor:
    """The logits (b, C), in single precision, of a model of one size."""
    inputs, first_tokens = model_inputs(model, batch)
    hidden = model.bert(**inputs).last_hidden_state
    pooled = model.bert.pooler(hidden if first_tokens is None else hidden[first_tokens[0], first_tokens[1], None])
    return model.classifier(model.dropout(pooled)).float()


def batch_logits_widths(
    model: CroppableBertForSequenceClassification, batch: GlueBatch, widths: Sequence[int]
) -> Tensor:
    """The logits (n, b, C), in single precision, of sub-models."""
    inputs, first_tokens = model_inputs(model, batch)
    return model.forward_widths(**inputs, first_tokens=first_tokens, widths=widths).float()


def model_inputs(model: PreTrainedModel, batch: GlueBatch) -> tuple[dict[str, Tensor], Tensor | None]:
    """The texts of a batch for a model, and row and column (2, b) of their first tokens.

    They are packed if the attention kernel takes a boolean mask for pairs of tokens. If not, they are padded, and the
    second value is None: every row is a text.
    """
    if model.config._attn_implementation == "sdpa":
        return batch.packed.inputs, batch.packed.first_tokens
    return batch.inputs, None


class Supernet(FineTuning):
    """All sub-models of `model.widths`, one in each step."""

    model: CroppableBertForSequenceClassification

    def forward(self, batch: GlueBatch) -> LossTerms:
        position = broadcast_first(torch.randint(len(self.model.widths), ()), batch.labels.device)
        logits = batch_logits_widths(self.model, batch, [self.model.widths[int(position)]])  # (1, b, C)
        return weighed({"hard": label_loss(logits, batch.labels)[0]}, batch)
