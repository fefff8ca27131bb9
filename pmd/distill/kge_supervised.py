"""Learning embeddings from triples: the objective of a single model, and the label terms of every distillation.

Term `hard` is one of five label losses (`loss.name`); `n3` and `constraint` are regularisers on the embeddings that
a batch reads, each with its weight in the config.

Confidences of the triples weigh the label loss, wherever there is one; soft labels and regularisers weigh all triples evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pmd.core.distributed import relative_weights
from pmd.core.types import LossTerms, Objective, weighed
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, Side
from pmd.losses import kge as losses
from pmd.models.kge.model import Comparison, KgeModel
from pmd.settings.kge import KgeConfig, KgeStageConfig, LossConfig
from pmd.settings.stages.kge import SHIFT_FREE


@dataclass(frozen=True, eq=False)
class KgeSetup:
    """What a stage of embedding models trains with; every objective takes from it what it needs (`for_stage`).

    `teacher` and its loss are None for a method without one; `stage` has every setting filled in, and `loss` is that of the
    run with the settings of the stage.
    """

    student: KgeModel
    teacher: KgeModel | None
    graph: KnowledgeGraph
    loss: LossConfig
    teacher_loss: LossConfig | None
    config: KgeConfig
    stage: KgeStageConfig


def batch_scores(model: KgeModel, batch: KgeBatch) -> Tensor:
    """The scores of all sides, a row for each query: (b, 1 + k), the true triple and its negatives, or (b, candidates)
    where there are no negatives."""
    if batch.sides[0].negatives is None:
        scores = torch.cat([model.score_all(side.triples, side.target) for side in batch.sides])
        return scores if batch.candidates is None else scores.index_select(1, batch.candidates)
    return join_scores(batch, model.score_comparisons(comparisons(batch)))


def batch_scores_widths(model: KgeModel, batch: KgeBatch, widths: Sequence[int], scale: float = 1.0) -> Tensor:
    """The scores (n, b, 1 + k) by the sub-models of all widths; `scale` is that of `KgeModel.score_comparisons_widths`."""
    return join_scores(batch, model.score_comparisons_widths(comparisons(batch), widths, scale))


def comparisons(batch: KgeBatch) -> list[Comparison]:
    """What a model is asked to score for a batch with sampled negatives, one comparison for each side: its triples with
    their answers and negatives. Where triples share negatives, first one for the answers of each side, then one for the
    negatives of each."""
    sides = batch.sides
    true = [(side.triples, side.target, side.answers[:, None]) for side in sides]
    if shares_negatives(batch):
        return [*true, *((side.triples, side.target, side.negatives) for side in sides)]
    return [
        (triples, target, torch.cat([answers, side.negatives], dim=1))
        for side, (triples, target, answers) in zip(sides, true)
    ]


def join_scores(batch: KgeBatch, scores: list[Tensor]) -> Tensor:
    """The scores of all `comparisons` of a batch, (…, b', k') each -> (…, b, 1 + k) of all sides, the true triple first."""
    if not shares_negatives(batch):
        return torch.cat(scores, dim=-2)
    sides = len(batch.sides)
    return torch.cat([torch.cat(scores[:sides], dim=-2), torch.cat(scores[sides:], dim=-2)], dim=-1)


def shares_negatives(batch: KgeBatch) -> bool:
    """Whether several triples have the same negatives."""
    return any(len(side.negatives) < len(side.triples) for side in batch.sides)


class LabelLoss:
    """The loss of scores on labels (hard) and on a teacher's scores (soft), in the form that `LossConfig` names."""

    def __init__(self, options: LossConfig):
        self.options = options

    def logits(self, scores: Tensor) -> Tensor:
        """scale · (score + margin), of which σ or a softmax is taken. A pass over all scores that changes nothing is saved."""
        scores = scores + self.options.margin if self.options.margin else scores
        return self.options.scale * scores if self.options.scale != 1 else scores

    def hard(self, scores: Tensor, batch: KgeBatch) -> Tensor:
        """The loss of scores (b, columns) on the labels of their batch: a scalar."""
        options, logits, confidences = self.options, self.logits(scores), batch.confidences
        confidences = None if confidences is None else relative_weights(confidences)
        if options.name == "one_vs_all":
            return losses.one_vs_all_loss(logits, batch.answers, options.label_smoothing, confidences)
        if options.name == "k_vs_all":
            return losses.k_vs_all_loss(logits, batch.labels, options.label_smoothing, confidences)
        false = batch.false
        if options.name == "softmax":
            return losses.softmax_loss(logits, false, confidences)
        if options.name == "margin":
            weights = losses.negative_weights(scores[:, 1:], false, options.adversarial)
            return losses.margin_loss(scores, weights, options.margin, confidences)
        weights = losses.negative_weights(logits[:, 1:], false, options.adversarial)
        return losses.logistic_loss(logits, weights, confidences)

    def soft(self, student: Tensor, teacher: Tensor, teacher_loss: LabelLoss, temperature: float = 1.0) -> Tensor:
        """The loss of the student's scores on the teacher's, (b, columns) both; each has its own margin and scale.

        Logits are divided by the temperature and the loss is multiplied by its square, so that the size of its gradient
        does not depend on it (Hinton et al., 2015).
        """
        name = self.options.name
        ours, theirs = self.logits(student) / temperature, teacher_loss.logits(teacher) / temperature
        if name in SHIFT_FREE:
            return losses.soft_softmax_loss(ours, theirs) * temperature**2
        if name == "k_vs_all":
            return losses.soft_label_loss(ours, theirs) * temperature**2
        # Known answers among the negatives stay: here the teacher labels them, not the fact that they were drawn.
        if name == "margin":
            weights = losses.negative_weights(student[:, 1:], None, self.options.adversarial)
            return losses.soft_score_loss(student, teacher, weights)
        weights = losses.negative_weights(self.logits(student)[:, 1:], None, self.options.adversarial)
        return losses.soft_label_loss(ours, theirs, weights) * temperature**2


def regularisers(model: KgeModel, batch: KgeBatch, options: LossConfig) -> LossTerms:
    """The terms `n3` and `constraint`, where they have a weight, on the embeddings of the batch's queries and answers."""
    if not options.n3 and not options.constraint:
        return {}
    terms: LossTerms = {}
    sides = [query_factors(model, side) for side in batch.sides]
    if options.n3:
        shares = [len(side.triples) / len(batch.triples) for side in batch.sides]
        complex_parts = model.interaction.complex_parts
        norms = [losses.n3(r, *entities, complex_parts=complex_parts) for r, entities in sides]
        terms["n3"] = sum(share * norm for share, norm in zip(shares, norms))
    if options.constraint:
        relation = torch.cat([r for r, _ in sides])
        terms["constraint"] = losses.longer_than_one(torch.cat([e for _, entities in sides for e in entities]))
        if model.interaction.relation_is_plane:
            terms["constraint"] = terms["constraint"] + losses.out_of_plane(*relation.unbind(-2))
    return terms


def query_factors(model: KgeModel, side: Side) -> tuple[Tensor, list[Tensor]]:
    """Embeddings of the relations and of the entities of a side's queries, with the answers unless a query has many."""
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
        terms = {"hard": self.labels.hard(scores, batch), **regularisers(self.model, batch, self.options)}
        return weighed(terms, batch)
