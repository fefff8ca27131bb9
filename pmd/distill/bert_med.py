"""MED (Zhu et al., ACL 2025, section 5.5) for a classifier: the logits of a BERT's sub-models in the place of scores.

All sub-models read the batch, each in its own pass, and learn together. Terms:

- `hard`: the label loss, mean over the sub-models: cross-entropy, or squared error for a regression (STS-B). With
  `evolutionary` the weighted loss of Eq. 3-5; with `dynamic` times exp(w3 · width / widest) (Eq. 6);
- `mutual`: the Huber distance between the logits (for a regression, the outputs) of neighbours (Eq. 2), which both learn;
- `soft`: soft labels from a wider sub-model, which gets no gradient: from wide to narrow only.

The paper replaces "the triple score by the logits output for the corresponding category". For Eq. 3-5 that means: an
example with its own class is a true triple, and with each of the other C - 1 classes a negative. So the loss is the
logistic one, of every class against the rest. An example weighs the more, the less the narrower neighbour believes in the
right class, softmax(w1 / σ(logit)) over the batch; a wrong class of an example weighs the more, the higher the neighbour
scores it, softmax(w2 · logit) over all wrong classes of the batch. Both are bounded as in `pmd.losses.med`, and sum to 1
over the batch of all processes. A regression has no classes: it keeps its squared error, and
only Eq. 2 and 6 apply.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from pmd.core.types import LossTerms, weighed
from pmd.data.glue import GlueBatch
from pmd.distill.bert_finetune import BertSetup, batch_logits_widths
from pmd.distill.widths import CroppableObjective
from pmd.losses.distillation import softened_loss
from pmd.losses.labels import label_loss
from pmd.losses.med import evolutionary_loss, mutual_loss
from pmd.models.bert.croppable import CroppableBertForSequenceClassification
from pmd.settings.med import MedConfig


class BertMutualEvolution(CroppableObjective):
    """All sub-models of `model.widths` in one objective.

    Args:
        model: the model to train.
        med: what is learned together, every choice made (`pmd.settings.stages.glue.resolve_bert_med`).
    """

    def __init__(self, model: CroppableBertForSequenceClassification, med: MedConfig):
        super().__init__(model.widths, med, med.evolutionary and model.config.num_labels > 1)
        self.model = model
        self.weights = {"hard": 1.0, "mutual": med.mutual, "soft": med.soft}

    @classmethod
    def for_stage(cls, setup: BertSetup) -> BertMutualEvolution:
        return cls(setup.student, setup.stage.med)

    def forward(self, batch: GlueBatch) -> LossTerms:
        positions, widths = self.draw_widths()
        logits = batch_logits_widths(self.model, batch, widths)  # (n, b, C)
        if self.evolutionary:  # its weights are of all processes' rows already
            hard = evolutionary_loss(true_first(logits, batch.labels), self.w1, self.w2)
            terms = {"hard": self.mean_over_widths(hard, positions)}
        else:
            hard = label_loss(logits, batch.labels)
            terms = weighed({"hard": self.mean_over_widths(hard, positions)}, batch)
        if self.med.mutual:
            terms |= weighed({"mutual": mutual_loss(logits)}, batch)
        if self.med.soft:
            terms |= weighed({"soft": self.soft(logits)}, batch)
        return terms | self.learned_weights()

    def soft(self, logits: Tensor) -> Tensor:
        """The loss of every sub-model but the widest, taught by the next wider one or by the widest."""
        students, teachers = self.taught_pairs(logits)
        if logits.shape[-1] == 1:
            return mse_loss(students, teachers)
        return softened_loss(students.flatten(0, 1), teachers.flatten(0, 1), self.med.temperature)


def true_first(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (n, b, C) with that of the label (b,) first, then those of the other classes."""
    classes = torch.arange(logits.shape[-1], device=labels.device)
    order = (labels[:, None] + classes) % len(classes)  # (b, C): label 1 of 3 gives 1, 2, 0
    return logits.gather(-1, order.expand_as(logits))
