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
        self.weights = {"ce": first_set(distill.label_weight, 1.0 - distill.alpha)}
        self.distill, gives_scores = distill, isinstance(teacher, ScorerTeacher)
        if distill.alpha:
            self.weights["logits"] = distill.alpha
        if distill.similarity and not gives_scores:
            self.weights["similarity"] = distill.similarity
        compared = self.compares_layers and distill.beta > 0
        self.pairs = patient_layers(student.depth, teacher.depth) if compared else {}
        self.takes_states = not self.pairs
        if self.pairs:
            self.weights["layers"] = distill.beta
        self.asks = None if gives_scores or len(self.weights) == 1 else sorted(set(self.pairs.values()))
        hidden_size = student.hidden_size if isinstance(teacher, ScorerTeacher) else teacher.hidden_size
        self.project = bridge(student.hidden_size, hidden_size, trained=bool(self.pairs))

    @classmethod
    def for_stage(cls, setup: TextSetup) -> LogitDistillation:
        return super().for_stage(setup, teacher=setup.teacher, distill=setup.distill)

    def forward(self, batch: TripleBatch) -> LossTerms:
        softened = partial(two_way_softened_loss, temperature=self.temperature)
        ours = self.encode(self.student, batch, layers=list(self.pairs))
        vectors = gather_vectors(*ours, batch)
        terms = {"ce": self.contrastive(vectors, batch)}
        theirs = self.ask(batch) if self.asks is not None else None
        if "logits" in self.weights and theirs is None:
            terms["logits"] = self.taught_loss(softened, vectors, self.teacher_scores(batch))
        elif "logits" in self.weights:
            teacher_vectors = gather_vectors(*theirs, batch)
            terms["logits"] = self.teacher_loss(softened, vectors, teacher_vectors, self.teacher.model, batch)
        if "similarity" in self.weights:
            terms["similarity"] = self.similarity_loss(ours, theirs, self.teacher.model, self.distill)
        if self.pairs:
            terms["layers"] = torch.cat([self._errors(*pair) for pair in zip(ours, theirs)]).mean()
        return terms

    def teacher_scores(self, batch: TripleBatch) -> Tensor:
        """The scores (b, b) that the teacher gives the entities of the batch as answers to its queries."""
        return batch_scores(self.teacher.model, batch.examples, self.num_relations)

    def _errors(self, ours: Encoded, theirs: Encoded) -> Tensor:
        pairs = ((ours.layers[layer], theirs.layers[other]) for layer, other in self.pairs.items())
        return torch.cat([patient_errors(self.project(student), teacher) for student, teacher in pairs])


class PatientDistillation(LogitDistillation):
    """PKD."""

    compares_layers = True
