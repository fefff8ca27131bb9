"""MED (Zhu et al., ACL 2025, section 5.5) for a classifier: the logits of a BERT's sub-models in the place of scores.

All sub-models read the batch, each in its own pass, and learn together. Terms:

- `hard`: the label loss, mean over the sub-models: cross-entropy, or squared error for a regression (STS-B). With
  `evolutionary` the weighted loss of Eq. 3-5; with `dynamic` times exp(w3 · width / widest) (Eq. 6);
- `mutual`: the Huber distance between the logits (the output, of a regression) of neighbours (Eq. 2), both ways;
- `soft`: soft labels from a wider sub-model, without gradient for it: the one way from wide to narrow.

The paper replaces "the triple score by the logits output for the corresponding category". What that makes of Eq. 3-5:
an example with its own class is a true triple, and the same example with each of the other C - 1 classes is a
negative. So the loss is the logistic one of every class against the rest; an example weighs the more the less its
narrower neighbour believes in the right class, softmax(w1 / σ(logit)) over the batch, and a wrong class of an example
the more the higher the neighbour scores it, softmax(w2 · logit) over all wrong classes of the batch. Both stay finite
as in `pmd.losses.med`, and sum to 1 over a batch. A regression has neither kind: it keeps its squared error, and only
Eq. 2 and 6 apply.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pmd.core.med import MedConfig
from pmd.core.types import LossTerms, Objective
from pmd.data.glue import GlueBatch
from pmd.distill.med import MutualEvolution
from pmd.losses.distillation import softened_loss
from pmd.losses.labels import label_loss
from pmd.losses.med import evolutionary_loss, mutual_loss
from pmd.models.croppable_bert import CroppableBertForSequenceClassification


class BertMutualEvolution(Objective):
    """All sub-models of `model.widths` in one objective.

    Args:
        model: the model to train.
        med: what is learned together, every choice made (`pmd.core.glue_stages.resolve_bert_med`).
    """

    drawn = MutualEvolution.drawn  # the widths of a step: one rule for all croppable models

    def __init__(self, model: CroppableBertForSequenceClassification, med: MedConfig):
        super().__init__()
        self.model, self.med = model, med
        self.evolutionary = med.evolutionary and model.config.num_labels > 1
        share = torch.tensor(model.widths, dtype=torch.float) / model.widths[-1]  # (n,)
        self.register_buffer("share", share, persistent=False)
        # What no term reads is not learned: processes that share gradients would wait for it.
        used = {"w1": self.evolutionary, "w2": self.evolutionary, "w3": med.dynamic}
        self.learned = [name for name in used if med.learned and used[name]]
        for name in used:
            start = torch.tensor(float(getattr(med, name)))
            self.register_parameter(name, nn.Parameter(start, requires_grad=name in self.learned))
        self.weights = {"hard": 1.0, "mutual": med.mutual, "soft": med.soft}

    def forward(self, batch: GlueBatch) -> LossTerms:
        chosen = self.drawn()  # positions, or a slice of all
        widths = np.asarray(self.model.widths)[chosen].tolist()
        logits = self.model.forward_widths(**batch.inputs, widths=widths).float()  # (n, b, C)
        if self.evolutionary:
            hard = evolutionary_loss(true_first(logits, batch.labels), self.w1, self.w2)
        else:
            hard = label_loss(logits, batch.labels)
        if self.med.dynamic:
            hard = hard * (self.w3 * self.share[chosen]).exp()
        terms = {"hard": hard.mean()}
        if self.med.mutual:
            terms["mutual"] = mutual_loss(logits)
        if self.med.soft:
            terms["soft"] = self.soft(logits)
        return terms | {name: getattr(self, name) for name in self.learned}  # logged: each can make its own task easy

    def soft(self, logits: Tensor) -> Tensor:
        """Every sub-model but the widest taught by the next wider one, or by the widest."""
        teachers = logits[1:] if self.med.teacher == "next" else logits[-1:].expand_as(logits[1:])
        students, teachers = logits[:-1], teachers.detach()
        if logits.shape[-1] == 1:
            return mse_loss(students, teachers)
        return softened_loss(students.flatten(0, 1), teachers.flatten(0, 1), self.med.temperature)


def true_first(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (n, b, C) with that of the label (b,) first and those of the other classes after it."""
    classes = torch.arange(logits.shape[-1], device=labels.device)
    order = (labels[:, None] + classes) % len(classes)  # (b, C)
    return logits.gather(-1, order.expand_as(logits))
