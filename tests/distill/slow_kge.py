"""The plain versions of the embedding objectives: one score at a time, Python numbers and loops."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig

LOSSES = {
    "margin": LossConfig("margin", margin=1.5, negatives=5),
    "margin, adversarial": LossConfig("margin", margin=1.5, negatives=5, adversarial=2.0, filtered=True),
    "logistic": LossConfig("logistic", margin=2.0, scale=1.5, negatives=5),
    "logistic, adversarial": LossConfig("logistic", margin=2.0, scale=1.5, negatives=5, adversarial=0.5, filtered=True),
    "logistic, shared": LossConfig("logistic", margin=1.0, negatives=20, shared=2),
    "softmax": LossConfig("softmax", margin=0.0, scale=3.0, negatives=5),
    "softmax, shared": LossConfig("softmax", margin=0.0, scale=3.0, negatives=20, shared=3, filtered=True),
    "one_vs_all": LossConfig("one_vs_all", margin=0.0, scale=2.0),
    "one_vs_all, smoothed": LossConfig("one_vs_all", margin=0.0, scale=2.0, label_smoothing=0.1),
    "k_vs_all": LossConfig("k_vs_all", margin=1.0, scale=2.0),
    "k_vs_all, smoothed": LossConfig("k_vs_all", margin=1.0, scale=2.0, label_smoothing=0.1),
}


class Row(NamedTuple):
    """One query: scores of its candidates, the columns that are true, and those that do not count."""

    scores: list[float]
    true: set[int]
    left_out: set[int]


def build(graph: KnowledgeGraph, name: str, dim: int = 6, seed: int = 0, reciprocal: bool = False) -> KgeModel:
    torch.manual_seed(seed)
    return KgeModel(name, graph.num_entities, graph.num_relations, dim, reciprocal=reciprocal)


def batch_of(graph: KnowledgeGraph, options: LossConfig, count: int = 9, seed: int = 0) -> KgeBatch:
    """So many examples, with an odd number of them on one side."""
    sizes = (graph.num_entities, graph.num_relations)
    torch.manual_seed(seed)
    if options.name == "one_vs_all":
        examples = OneVsAll(graph.train)
    elif options.name == "k_vs_all":
        examples = KvsAll(graph.train, *sizes)
    else:
        known = KnownAnswers(graph.train, *sizes) if options.filtered else None
        examples = SampledNegatives(graph.train, graph.num_entities, options.negatives, options.shared, known)
    return examples(torch.randperm(len(examples))[:count].tolist())


def score_of(model: KgeModel, triple: list[int], target: str, entity: int) -> float:
    h, r, t = triple
    h, t = (entity, t) if target == "head" else (h, entity)
    if target == "head" and model.reciprocal:
        h, r, t = t, r + model.num_relations, h
    return model.score(torch.tensor([[h, r, t]])).item()


def rows_of(model: KgeModel, batch: KgeBatch, graph: KnowledgeGraph, options: LossConfig) -> list[Row]:
    """The queries of a batch, heads first."""
    facts, rows = set(map(tuple, graph.train.tolist())), []
    for side in batch.sides:
        for i, (h, r, t) in enumerate(side.triples.tolist()):
            answer = h if side.target == "head" else t
            entities, left_out = [*range(graph.num_entities)], set()
            known = {e for e in entities if ((e, r, t) if side.target == "head" else (h, r, e)) in facts}
            true = {answer} if options.name == "one_vs_all" else known
            if side.negatives is not None:
                size = -(-len(side.triples) // len(side.negatives))
                entities = [answer, *side.negatives[i // size].tolist()]
                false = known if options.filtered else {answer}
                true, left_out = {0}, {j for j, e in enumerate(entities) if j and e in false}
            scores = [score_of(model, [h, r, t], side.target, e) for e in entities]
            rows.append(Row(scores, true, left_out))
    return rows


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(x) for x in logits]
    return [power / sum(powers) for power in powers]


def logits_of(row: Row, options: LossConfig) -> list[float]:
    return [options.scale * (score + options.margin) for score in row.scores]


def weights_of(row: Row, options: LossConfig, *, left_out: bool) -> dict[int, float]:
    """Of the negatives, by column."""
    numbers = row.scores if options.name == "margin" else logits_of(row, options)
    columns = [j for j in range(1, len(numbers)) if not (left_out and j in row.left_out)]
    return dict(zip(columns, softmax([options.adversarial * numbers[j] for j in columns])))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def hard(rows: list[Row], options: LossConfig) -> float:
    """The label loss, as its paper writes it."""
    return mean([_hard(row, options) for row in rows])


def _hard(row: Row, options: LossConfig) -> float:
    scores, logits, smoothing = row.scores, logits_of(row, options), options.label_smoothing
    if options.name in ("margin", "logistic"):
        weights = weights_of(row, options, left_out=True)
        if options.name == "margin":
            return sum(w * max(0.0, options.margin - scores[0] + scores[j]) for j, w in weights.items())
        wrong = sum(w * math.log(sigmoid(-logits[j])) for j, w in weights.items())
        return -(math.log(sigmoid(logits[0])) + wrong) / 2
    labels = [(1 - smoothing) * (j in row.true) + smoothing / len(logits) for j in range(len(logits))]
    if options.name == "k_vs_all":
        return mean([-y * math.log(sigmoid(x)) - (1 - y) * math.log(sigmoid(-x)) for x, y in zip(logits, labels)])
    competing = [j for j in range(len(logits)) if j not in row.left_out]
    chances = dict(zip(competing, softmax([logits[j] for j in competing])))
    return -sum(labels[j] * math.log(chances[j]) for j in competing)


def soft(
    ours: list[Row], theirs: list[Row], options: LossConfig, teacher: LossConfig, temperature: float = 1.0
) -> float:
    """The loss of our scores under those of who teaches. Known answers among the negatives count here."""
    return mean([_soft(own, other, options, teacher, temperature) for own, other in zip(ours, theirs)])


def _soft(own: Row, other: Row, options: LossConfig, teacher: LossConfig, temperature: float) -> float:
    mine = [x / temperature for x in logits_of(own, options)]
    its = [x / temperature for x in logits_of(other, teacher)]
    factor = temperature**2
    if options.name in ("softmax", "one_vs_all"):
        return -factor * sum(p * math.log(q) for p, q in zip(softmax(its), softmax(mine)))
    if options.name == "margin":
        factor, costs = 1.0, [abs(a - b) for a, b in zip(own.scores, other.scores)]
    else:
        costs = [
            -sigmoid(b) * math.log(sigmoid(a)) - (1 - sigmoid(b)) * math.log(sigmoid(-a)) for a, b in zip(mine, its)
        ]
    if options.name == "k_vs_all":
        return factor * mean(costs)
    weights = weights_of(own, options, left_out=False)
    return factor * (costs[0] + sum(weight * costs[j] for j, weight in weights.items())) / 2
