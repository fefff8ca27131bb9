"""MED (Zhu et al., ACL 2025): one model whose leading dimensions are models of every smaller width.

All sub-models score the batch in one pass, and learn together. Terms:

- `hard`: the label loss, mean over the sub-models; with `evolutionary` the cross-entropy weighted by how badly the
  narrower neighbour does (Eq. 3-5), with `dynamic` times exp(w3 · width / widest) (Eq. 6);
- `mutual`: the Huber distance between the scores of neighbours (Eq. 2), which both learn;
- `soft`: soft labels from a wider sub-model, which gets no gradient: from wide to narrow only.

The paper sums over triples and sub-models where means are taken here: its `mutual` would be thousands of times larger, by
the number of scores in a batch. The evolutionary weights sum to 1 in a batch in both, that of all processes.
Confidences of the triples multiply the evolutionary weights before they are made to sum to 1, or else weigh the label loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pmd.core.types import LossTerms, weighed
from pmd.data.graphs.negatives import KgeBatch
from pmd.distill.kge_supervised import KgeSetup, LabelLoss, batch_scores_widths, regularisers
from pmd.distill.widths import CroppableObjective
from pmd.losses.med import evolutionary_loss, mutual_loss
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig, MedConfig


class MutualEvolution(CroppableObjective):
    """All sub-models of `model.widths` in one objective.

    Args:
        model: the model to train.
        options: the label loss; its logits are `scale · (score + margin)` at every width.
        med: what is learned together, every choice made (`pmd.settings.med.resolve_med`).
    """

    def __init__(self, model: KgeModel, options: LossConfig, med: MedConfig):
        super().__init__(model.widths, med, med.evolutionary)
        self.model, self.options, self.labels = model, options, LabelLoss(options)
        self.log_factors = nn.Parameter(-med.power * self.share.log(), requires_grad=med.calibrated)
        self.weights = {"hard": 1.0, "mutual": med.mutual, "soft": med.soft}
        self.weights |= {"n3": options.n3, "constraint": options.constraint}

    @classmethod
    def for_stage(cls, setup: KgeSetup) -> MutualEvolution:
        return cls(setup.student, setup.loss, setup.stage.med)

    def forward(self, batch: KgeBatch) -> LossTerms:
        positions, widths = self.draw_widths()
        scores = batch_scores_widths(self.model, batch, widths, self.med.prefix)  # (n, b, 1 + k)
        if self.med.power or self.med.calibrated:
            scores = scores * self.log_factors[positions].exp()[:, None, None]
        hard = {"hard": self.mean_over_widths(self.hard(scores, batch), positions)}
        terms = hard if self.evolutionary else weighed(hard, batch)  # its weights are of all processes' rows already
        if self.med.mutual and len(widths) > 1:
            terms |= weighed({"mutual": mutual_loss(scores)}, batch)
        if self.med.soft and len(widths) > 1:
            terms |= weighed({"soft": self.soft(scores)}, batch)
        if self.med.calibrated:
            terms |= {f"scale_{self.widths[i]}": self.log_factors[i].exp() for i in (0, -1)}
        return {**terms, **self.learned_weights(), **weighed(regularisers(self.model, batch, self.options), batch)}

    def hard(self, scores: Tensor, batch: KgeBatch) -> Tensor:
        """The label loss of each sub-model (n,)."""
        if self.evolutionary:
            literal = scores[..., 0] if self.med.improvement == "literal" else None
            logits = self.labels.logits(scores)
            return evolutionary_loss(logits, self.w1, self.w2, batch.false, batch.confidences, literal)
        return torch.vmap(lambda width_scores: self.labels.hard(width_scores, batch))(scores)

    def soft(self, scores: Tensor) -> Tensor:
        """The loss of every sub-model but the widest, taught by the next wider one or by the widest."""
        loss = torch.vmap(lambda ours, theirs: self.labels.soft(ours, theirs, self.labels, self.med.temperature))
        return loss(*self.taught_pairs(scores)).mean()
