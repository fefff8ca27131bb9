"""Students of one size, taught by a fine-tuned BERT: what MED is compared with on GLUE.

All have the label loss as the term `hard`; the terms from the teacher are

- `BasicKd` (BKD, Hinton et al., 2015): `logits`, the KL divergence of the softened logits (squared error for a
  regression); L = (1 - α)·hard + α·logits;
- `PatientKd` (PKD, Sun et al., EMNLP 2019, Eq. 7-8): also `layers`, the squared distance between the normalised [CLS]
  states of the student's middle layers and of evenly spaced layers of the teacher; L = (1 - α)·hard + α·logits +
  β·layers. Where widths differ, a linear layer lies between, which is learned and thrown away;
- `MiniLm` (Wang et al., NeurIPS 2020, Eq. 5-7): `attention` and `values`, the KL divergences of the last layers'
  attention distributions and value relations. Where the numbers of heads differ, the teacher's queries, keys and values
  are split into as many relation heads as the student has (as in MiniLMv2, Wang et al., 2021);
- `RelationalKd` (RKD, Park et al., CVPR 2019): `distance` and `angle`, the Huber distances between the distances and
  angles among the last [CLS] states of the batch of all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from transformers import BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

from pmd.core.distributed import all_gather, global_mean
from pmd.core.types import LossTerms, Objective, weighed
from pmd.data.glue import GlueBatch
from pmd.distill.bert_finetune import BertSetup, batch_logits
from pmd.distill.teacher import Frozen, bridge
from pmd.losses.distillation import patient_errors, patient_layers, softened_loss
from pmd.losses.labels import label_loss
from pmd.losses.relations import agreement, angles, distances, relation_errors, token_relations
from pmd.settings.glue import GlueDistillConfig


class BasicKd(Objective):
    """A student and its teacher's logits for the training split.

    Args:
        model: the student.
        teacher: logits (N, C) of the fine-tuned model in eval mode for the N examples of the split, computed once, since
            they do not change.
        distill: weight and temperature.
    """

    def __init__(self, model: BertForSequenceClassification, teacher: Tensor, distill: GlueDistillConfig):
        super().__init__()
        self.model, self.temperature = model, distill.temperature
        self.register_buffer("teacher", teacher.float(), persistent=False)
        self.weights = {"hard": 1 - distill.alpha, "logits": distill.alpha}

    @classmethod
    def for_stage(cls, setup: BertSetup) -> BasicKd:
        return cls(setup.student, setup.teacher_logits(), setup.config.distill)

    def forward(self, batch: GlueBatch) -> LossTerms:
        logits = batch_logits(self.model, batch)
        hard = label_loss(logits[None], batch.labels)[0]
        taught = logit_loss(logits, self.teacher[batch.positions], self.temperature)
        return weighed({"hard": hard, "logits": taught}, batch)


def logit_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL divergence of softened logits (b, C), or the squared error of a regression (C = 1): a scalar."""
    return mse_loss(student, teacher) if student.shape[-1] == 1 else softened_loss(student, teacher, temperature)


class TaughtBert(Objective):
    """What the other methods share: a student that is trained, and a frozen teacher whose hidden states it learns from.

    Args:
        model: the student, like the teacher a plain BERT.
        teacher: the fine-tuned model.
        distill: weights and temperature.
    """

    def __init__(
        self,
        model: BertForSequenceClassification,
        teacher: BertForSequenceClassification,
        distill: GlueDistillConfig,
    ):
        super().__init__()
        self.model, self.teacher, self.distill = model, Frozen(teacher, model.device), distill

    @classmethod
    def for_stage(cls, setup: BertSetup) -> TaughtBert:
        return cls(setup.student, setup.teacher(), setup.config.distill)

    def forward(self, batch: GlueBatch) -> LossTerms:
        ours = self.model(**batch.inputs, output_hidden_states=True)
        with torch.no_grad():
            theirs = self.teacher.model(**batch.inputs, output_hidden_states=True)
        hard = label_loss(ours.logits.float()[None], batch.labels)[0]
        return {**weighed({"hard": hard}, batch), **self.teacher_terms(ours, theirs, batch)}

    def teacher_terms(
        self, ours: SequenceClassifierOutput, theirs: SequenceClassifierOutput, batch: GlueBatch
    ) -> LossTerms:
        """The terms from the teacher, by the outputs of student and teacher, for the batch of all processes."""
        raise NotImplementedError


class PatientKd(TaughtBert):
    def __init__(self, model, teacher, distill: GlueDistillConfig):
        super().__init__(model, teacher, distill)
        self.pairs = patient_layers(model.config.num_hidden_layers, teacher.config.num_hidden_layers)
        self.weights = {"hard": 1 - distill.alpha, "logits": distill.alpha, "layers": distill.layers}
        self.project = bridge(model.config.hidden_size, teacher.config.hidden_size) if self.pairs else nn.Identity()

    def teacher_terms(self, ours, theirs, batch: GlueBatch) -> LossTerms:
        terms = {"logits": logit_loss(ours.logits.float(), theirs.logits.float(), self.distill.temperature)}
        if not self.pairs:  # a single layer has none in the middle
            return weighed(terms, batch)
        errors = [
            patient_errors(self.project(ours.hidden_states[layer][:, 0]), theirs.hidden_states[other][:, 0])
            for layer, other in self.pairs.items()
        ]
        return weighed({**terms, "layers": torch.stack(errors).mean()}, batch)


class MiniLm(TaughtBert):
    def __init__(self, model, teacher, distill: GlueDistillConfig):
        super().__init__(model, teacher, distill)
        self.heads = model.config.num_attention_heads
        self.weights = {"hard": 1.0, "attention": distill.relations, "values": distill.relations}

    def teacher_terms(self, ours, theirs, batch: GlueBatch) -> LossTerms:
        mask = batch.texts.attention_mask
        student = self.relations(self.model, ours, mask)
        with torch.no_grad():
            teacher = self.relations(self.teacher.model, theirs, mask)
        # A global mean: processes have different numbers of tokens.
        attention, values = (global_mean(relation_errors(*pair, mask)) for pair in zip(student, teacher))
        return {"attention": attention, "values": values}

    def relations(self, model: BertForSequenceClassification, output, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attention and value relations (b, heads, L, L) of the last layer, computed again from its input."""
        last, below = model.bert.encoder.layer[-1].attention.self, output.hidden_states[-2]
        query, key, value = (part(below).float() for part in (last.query, last.key, last.value))  # (b, L, w)
        return token_relations(query, key, self.heads, mask), token_relations(value, value, self.heads, mask)


class RelationalKd(TaughtBert):
    def __init__(self, model, teacher, distill: GlueDistillConfig):
        super().__init__(model, teacher, distill)
        self.weights = {"hard": 1.0, "distance": distill.distance, "angle": distill.angle}

    def teacher_terms(self, ours, theirs, batch: GlueBatch) -> LossTerms:
        # (b, w) and (b, d), where b is the batch of all processes.
        student, teacher = (all_gather(output.hidden_states[-1][:, 0].float()) for output in (ours, theirs))
        return {
            "distance": agreement(distances(student), distances(teacher)),
            "angle": agreement(angles(student), angles(teacher)),
        }
