"""A frozen teacher: in eval mode, without gradients, and no part of what is trained, saved or counted; a bridge to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pmd.core.types import Target, TripleScorer


class Frozen:
    """Holds a model outside the module tree of its objective.

    So `train()` does not turn on its dropout, data parallelism does not copy it, and checkpoints of the student
    do not contain it.
    """

    def __init__(self, model: nn.Module, device: torch.device | str = "cpu"):
        self.model = model.eval().requires_grad_(False).to(device)


class ScorerTeacher(nn.Module):
    """Whatever scores all entities as answers (`score_all`), as a teacher of embeddings; its scores are taken as logits."""

    def __init__(self, scorer: TripleScorer):
        super().__init__()
        self.scorer = [scorer]  # in a list: its weights are none of this module's

    @torch.no_grad()
    def score_all(self, triples: Tensor, target: Target) -> Tensor:
        """Scores (b, entities)."""
        return self.scorer[0].score_all(triples, target).to(triples.device)

    def score_comparisons(self, comparisons: Sequence[tuple[Tensor, Target, Tensor]]) -> list[Tensor]:
        """Scores (b, k) of each comparison: triples (b, 3), the end that is asked for, and candidates (groups, k) of so many
        groups of consecutive triples."""
        scores = []
        for triples, target, candidates in comparisons:
            rows = torch.arange(len(triples), device=candidates.device) // -(-len(triples) // len(candidates))
            scores.append(self.score_all(triples, target).gather(1, candidates[rows]))
        return scores


def batch_scores(scorer: TripleScorer, examples: Tensor, num_relations: int) -> Tensor:
    """The scores (b, b) that the entities of examples (b, 3) get as answers to each other's queries; inverse relations are
    numbered from `num_relations` on."""
    head, relation, tail = examples.T
    inverse = relation >= num_relations
    scores = torch.empty(len(examples), len(examples), device=examples.device)
    for rows, target, triples in (
        (~inverse, "tail", examples),
        (inverse, "head", torch.stack([tail, relation - num_relations, head], dim=1)),
    ):
        scores[rows] = scorer.score_all(triples[rows], target)[:, tail].to(scores)
    return scores


class Structure:
    """What an embedding model adds to a text teacher's logits (`distill.structure`): where entities stand in the graph.

    Args:
        scorer: the embedding model.
        share: its share in [0, 1] of the mixed logits.
        num_relations: of the graph.
    """

    def __init__(self, scorer: TripleScorer, share: float, num_relations: int):
        self.scorer, self.share, self.num_relations = scorer, share, num_relations

    @torch.no_grad()
    def mixed(self, logits: Tensor, examples: Tensor) -> Tensor:
        """(1 − share) · logits (b, b) + share · scores, whose rows are first given the spread of the logits' rows: the scores
        of an embedding model have another scale, and their softmax another temperature."""
        scores = batch_scores(self.scorer, examples, self.num_relations)
        scores = scores - scores.mean(1, keepdim=True)
        spread = (logits - logits.mean(1, keepdim=True)).square().mean().sqrt()
        scale = spread / scores.square().mean().sqrt().clamp(min=1e-12)
        return (1 - self.share) * logits + self.share * scale * scores


def bridge(student: int, teacher: int, trained: bool = True) -> nn.Module:
    """From the student's width to the teacher's, where the two are compared: learned, and thrown away after training.

    A layer that no term reads is not `trained`: it gets no gradient, and processes that share gradients would wait for it.
    """
    return nn.Identity() if student == teacher else nn.Linear(student, teacher, bias=False).requires_grad_(trained)
