"""DistilE (Zhu et al., arXiv 2009.05912v1, the first version of DualDE, WSDM 2022): a narrow student taught by a wide teacher, in two stages.

L = α·L_soft^S + (1 − α)·L_hard^S  (Eq. 5), and with the teacher released, in stage 2, also
+ β·L_soft^T + (1 − β)·L_hard^T  (Eq. 11), as terms `soft`, `hard`, `teacher_soft` and `teacher_hard`.

With the margin loss the soft labels are the other model's scores (Eq. 4, 9), with the cross-entropy loss its
σ(score) (Eq. 8, 10), with a softmax loss the softmax of its scores (not in the paper). Both models score the same triples, and no gradient reaches a model through its soft labels.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from pmd.core.types import LossTerms, Objective, weighed
from pmd.data.graphs.negatives import KgeBatch
from pmd.distill.kge_supervised import KgeSetup, LabelLoss, batch_scores, regularisers
from pmd.distill.teacher import Frozen
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import DualConfig, LossConfig


class DualDistillation(Objective):
    """One stage of DualDE.

    Args:
        model: the student.
        teacher: a trained model; frozen here unless released.
        options: the student's loss.
        teacher_options: the teacher's loss, whose margin and scale may differ.
        dual: α, β and the temperature of soft labels.
        release: for stage 2, in which the teacher learns too.
    """

    def __init__(
        self,
        model: KgeModel,
        teacher: KgeModel,
        options: LossConfig,
        teacher_options: LossConfig,
        dual: DualConfig,
        *,
        release: bool = False,
    ):
        super().__init__()
        self.model, self.options, self.teacher_options = model, options, teacher_options
        self.temperature = dual.temperature
        self.labels, self.teacher_labels = LabelLoss(options), LabelLoss(teacher_options)
        self.frozen = None if release else Frozen(teacher, model.device)
        self.released = teacher if release else None
        self.weights = _weights(dual.alpha, options)
        if release:
            teacher_weights = _weights(dual.beta, teacher_options)
            self.weights |= {f"teacher_{name}": weight for name, weight in teacher_weights.items()}

    @classmethod
    def for_stage(cls, setup: KgeSetup) -> DualDistillation:
        stage = setup.stage
        dual = replace(setup.config.dual, alpha=stage.alpha, beta=stage.beta)
        losses = setup.loss, setup.teacher_loss
        return cls(setup.student, setup.teacher, *losses, dual, release=stage.release)

    def forward(self, batch: KgeBatch) -> LossTerms:
        ours = batch_scores(self.model, batch)
        if self.released is None:
            with torch.no_grad():
                theirs = batch_scores(self.frozen.model, batch)
        else:
            theirs = batch_scores(self.released, batch)
        terms = {
            "soft": self.labels.soft(ours, theirs, self.teacher_labels, self.temperature),
            "hard": self.labels.hard(ours, batch),
            **regularisers(self.model, batch, self.options),
        }
        if self.released is not None:
            teacher_terms = {
                "soft": self.teacher_labels.soft(theirs, ours, self.labels, self.temperature),
                "hard": self.teacher_labels.hard(theirs, batch),
                **regularisers(self.released, batch, self.teacher_options),
            }
            terms |= {f"teacher_{name}": value for name, value in teacher_terms.items()}
        return weighed(terms, batch)


def _weights(soft: float, options: LossConfig) -> dict[str, float]:
    return {"soft": soft, "hard": 1 - soft, "n3": options.n3, "constraint": options.constraint}
