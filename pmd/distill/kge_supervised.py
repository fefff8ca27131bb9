"""Learning embeddings from triples: the objective of a single model, and the label part of every distillation.

Term `hard` is one of five label losses (`loss.name`); `n3` and `constraint` are regularisers on the rows that
a batch reads, each with its weight in the config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pmd.core.types import LossTerms, Objective, Target
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, Side
from pmd.losses import kge as losses
from pmd.models.kge.interactions import TransH
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import KgeConfig, KgeStageConfig, LossConfig


@dataclass(frozen=True, eq=False)
class KgeSetup:
    """What a stage of embedding models trains with; every objective takes what it needs (`for_stage`).

    `teacher` and its loss are None for a method without one; `stage` has every setting filled in, and `loss` is the run's
    with those of the stage.
    """

    student: KgeModel
    teacher: KgeModel | None
    graph: KnowledgeGraph
    loss: LossConfig
    teacher_loss: LossConfig | None
    config: KgeConfig
    stage: KgeStageConfig


def batch_scores(model: KgeModel, batch: KgeBatch) -> Tensor:
    """The scores of all sides, one row per query: (b, 1 + k), the true triple and its negatives, or
    (b, candidates) where there are no negatives."""
    if batch.sides[0].negatives is None:
        scores = torch.cat([model.score_all(side.triples, side.target) for side in batch.sides])
        return scores if batch.candidates is None else scores.index_select(1, batch.candidates)
    return joined(batch, model.score_comparisons(comparisons(batch)))


def batch_scores_widths(model: KgeModel, batch: KgeBatch, widths: Sequence[int], scale: float = 1.0) -> Tensor:
    """The same of the sub-models of all widths: (n, b, 1 + k); `scale` as in `score_comparisons_widths`."""
    return joined(batch, model.score_comparisons_widths(comparisons(batch), widths, scale))


def comparisons(batch: KgeBatch) -> list[tuple[Tensor, Target, Tensor]]:
    """What sampled negatives ask a model to score: of each side the true triples with their own negatives; where
    triples share negatives, the true ones of all sides first, then the negatives."""
    sides = batch.sides
    true = [(side.triples, side.target, side.answers[:, None]) for side in sides]
    if shares_negatives(batch):
        return [*true, *((side.triples, side.target, side.negatives) for side in sides)]
    return [
        (triples, target, torch.cat([answers, side.negatives], dim=1))
        for side, (triples, target, answers) in zip(sides, true)
    ]


def joined(batch: KgeBatch, scores: list[Tensor]) -> Tensor:
    """Scores (…, b, k) of all `comparisons` -> (…, b, 1 + k) of all sides, the true triple first."""
    if not shares_negatives(batch):
        return torch.cat(scores, dim=-2)
    half = len(batch.sides)
    return torch.cat([torch.cat(scores[:half], dim=-2), torch.cat(scores[half:], dim=-2)], dim=-1)


def shares_negatives(batch: KgeBatch) -> bool:
    """Whether a row of negatives belongs to several triples."""
    return any(len(side.negatives) < len(side.triples) for side in batch.sides)


class LabelLoss:
    """The hard-label and the soft-label loss of scores, in the form that `LossConfig` names."""

    def __init__(self, options: LossConfig):
        self.options = options

    def logits(self, scores: Tensor) -> Tensor:
        """What σ or a softmax is taken of: scale · (score + margin); a pass over all scores costs time."""
        scores = scores + self.options.margin if self.options.margin else scores
        return self.options.scale * scores if self.options.scale != 1 else scores

    def hard(self, scores: Tensor, batch: KgeBatch) -> Tensor:
        """Scores (b, columns) of a batch against its labels."""
        options, logits = self.options, self.logits(scores)
        if options.name == "one_vs_all":
            return losses.one_vs_all_loss(logits, batch.answers, options.label_smoothing)
        if options.name == "k_vs_all":
            return losses.k_vs_all_loss(logits, batch.labels, options.label_smoothing)
        false = batch.false
        if options.name == "softmax":
            return losses.softmax_loss(logits, false)
        if options.name == "margin":
            weights = losses.negative_weights(scores[:, 1:], false, options.adversarial)
            return losses.margin_loss(scores, weights, options.margin)
        weights = losses.negative_weights(logits[:, 1:], false, options.adversarial)
        return losses.logistic_loss(logits, weights)

    def soft(self, student: Tensor, teacher: Tensor, teacher_loss: LabelLoss, temperature: float = 1.0) -> Tensor:
        """The student's scores against the teacher's, (b, columns) both; each has its own margin and scale.

        Logits are divided by the temperature and the loss is multiplied by its square, so that its gradient
        keeps its size (Hinton et al., 2015).
        """
        name = self.options.name
        ours, theirs = self.logits(student) / temperature, teacher_loss.logits(teacher) / temperature
        if name in ("softmax", "one_vs_all"):
            return losses.soft_softmax_loss(ours, theirs) * temperature**2
        if name == "k_vs_all":
            return losses.soft_label_loss(ours, theirs) * temperature**2
        # A known answer among the negatives is no false label here: the teacher says what it is.
        if name == "margin":
            weights = losses.negative_weights(student[:, 1:], None, self.options.adversarial)
            return losses.soft_score_loss(student, teacher, weights)
        weights = losses.negative_weights(self.logits(student)[:, 1:], None, self.options.adversarial)
        return losses.soft_label_loss(ours, theirs, weights) * temperature**2


def regularisers(model: KgeModel, batch: KgeBatch, options: LossConfig) -> LossTerms:
    """The terms `n3` and `constraint`, where they have a weight, of what the batch's queries and answers read."""
    if not options.n3 and not options.constraint:
        return {}
    terms: LossTerms = {}
    sides = [query_factors(model, side) for side in batch.sides]
    if options.n3:
        share = [len(side.triples) / len(batch.triples) for side in batch.sides]
        complex_parts = model.interaction.complex_parts
        parts = [losses.n3(r, *entities, complex_parts=complex_parts) for r, entities in sides]
        terms["n3"] = sum(weight * part for weight, part in zip(share, parts))
    if options.constraint:
        relation = torch.cat([r for r, _ in sides])
        terms["constraint"] = losses.longer_than_one(torch.cat([e for _, entities in sides for e in entities]))
        if isinstance(model.interaction, TransH):
            terms["constraint"] = terms["constraint"] + losses.out_of_plane(*relation.unbind(-2))
    return terms


def query_factors(model: KgeModel, side: Side) -> tuple[Tensor, list[Tensor]]:
    """The relation and the entities of a side's queries: with the answer, unless a query has many."""
    head, relation, tail = model.embed(side.triples, target=side.target)
    if side.labels is None:
        return relation, [head, tail]
    return relation, [head if side.target == "tail" else tail]


class KgeSupervised(Objective):
    """Term `hard`, and the regularisers that have a weight.

    Args:
        model: the model to train.
        options: the loss.
    """

    def __init__(self, model: KgeModel, options: LossConfig):
        super().__init__()
        self.model, self.options, self.labels = model, options, LabelLoss(options)
        self.weights = {"hard": 1.0, "n3": options.n3, "constraint": options.constraint}

    @classmethod
    def for_stage(cls, setup: KgeSetup) -> KgeSupervised:
        return cls(setup.student, setup.loss)

    def forward(self, batch: KgeBatch) -> LossTerms:
        scores = batch_scores(self.model, batch)
        return {"hard": self.labels.hard(scores, batch), **regularisers(self.model, batch, self.options)}
