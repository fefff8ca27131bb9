"""What PMD is compared with: logit distillation (LKD) and patient distillation (PKD), trained in the same way.

- LKD (Hinton et al., 2015): terms `ce` and `logits`, the KL divergence of the softened in-batch logits in
  both directions; L = (1 − α)·ce + α·logits. With `distill.label_weight` the labels have that weight, here and in PKD.
- PKD (Sun et al., EMNLP 2019), "skip": also `layers`, the distance of the student's middle layers from evenly
  spaced layers of the teacher; L = (1 − α)·ce + α·logits + β·layers. The paper compares [CLS] states; here a text
  is represented by the mean over its tokens, so that is what is compared.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pmd.core.distributed import all_gather, global_mean
from pmd.core.types import LossTerms
from pmd.data.texts.batches import TripleBatch
from pmd.distill.teacher import Frozen, ScorerTeacher, batch_scores, bridge
from pmd.distill.text_supervised import Supervised, TextSetup, gather_vectors
from pmd.losses.distillation import patient_errors, patient_layers, two_way_softened_loss
from pmd.models.text.bi_encoder import BiEncoder
from pmd.models.text.encode import Encoded
from pmd.settings.checks import first_set
from pmd.settings.text import DistillConfig


class LogitDistillation(Supervised):
    """LKD. Arguments as for `MaskedFeatureDistillation`."""

    compares_layers = False

    def __init__(
        self, student: BiEncoder, *arguments, teacher: BiEncoder | ScorerTeacher, distill: DistillConfig, **options
    ):
        super().__init__(student, *arguments, **options)
        self.teacher, self.temperature = Frozen(teacher, student.device), distill.temperature
        self.weights = {"ce": first_set(distill.label_weight, 1.0 - distill.alpha), "logits": distill.alpha}
        self.distill = distill
        if distill.similarity and not isinstance(teacher, ScorerTeacher):
            self.weights["similarity"] = distill.similarity
        self.pairs = patient_layers(student.depth, teacher.depth) if self.compares_layers else {}
        if self.pairs:
            self.weights["layers"] = distill.beta
        hidden_size = student.hidden_size if isinstance(teacher, ScorerTeacher) else teacher.hidden_size
        self.project = bridge(student.hidden_size, hidden_size, trained=bool(self.pairs))

    @classmethod
    def for_stage(cls, setup: TextSetup) -> LogitDistillation:
        return super().for_stage(setup, teacher=setup.teacher, distill=setup.distill)

    def forward(self, batch: TripleBatch) -> LossTerms:
        softened = partial(two_way_softened_loss, temperature=self.temperature)
        if isinstance(self.teacher.model, ScorerTeacher):
            vectors = gather_vectors(*self.encode(self.student, batch), batch)
            logit_loss = self.taught_loss(softened, vectors, self.teacher_scores(batch))
            return {"ce": self.contrastive(vectors, batch), "logits": logit_loss}
        ours = self.encode(self.student, batch, layers=list(self.pairs))
        with torch.no_grad():
            theirs = self.encode(self.teacher.model, batch.for_teacher, layers=sorted(set(self.pairs.values())))
        vectors, teacher_vectors = gather_vectors(*ours, batch), gather_vectors(*theirs, batch)
        logit_loss = self.teacher_loss(softened, vectors, teacher_vectors, self.teacher.model, batch)
        terms = {"ce": self.contrastive(vectors, batch), "logits": logit_loss}
        if "similarity" in self.weights:
            terms["similarity"] = self.similarity_loss(ours, theirs, self.teacher.model, self.distill)
        if self.pairs:
            terms["layers"] = global_mean(torch.cat([self._errors(*pair) for pair in zip(ours, theirs)]))
        return terms

    def teacher_scores(self, batch: TripleBatch) -> Tensor:
        """The scores (b, b) that the teacher gives the entities of the global batch as answers to its queries."""
        return batch_scores(self.teacher.model, all_gather(batch.examples), self.num_relations)

    def _errors(self, ours: Encoded, theirs: Encoded) -> Tensor:
        pairs = ((ours.layers[layer], theirs.layers[other]) for layer, other in self.pairs.items())
        return torch.cat([patient_errors(self.project(student), teacher) for student, teacher in pairs])


class PatientDistillation(LogitDistillation):
    """PKD."""

    compares_layers = True
