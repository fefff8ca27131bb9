"""How much text and structure count, chosen by the MRR of validation queries: exact filtered ranks at every share of a grid.

Both score lists of a query are computed once. Three rules give a query its share of the structure: one for all (`common`), one
for each relation and direction (`relation`), drawn to the common one where it has few queries, or one that follows from its
score lists (`query`). Rules are compared by cross-validation: each fold is ranked by what the others chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pmd.core.errors import PmdError
from pmd.core.types import ANSWER_COLUMN, KNOWN_COLUMN, TARGETS, Target
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.ranking import subsample
from pmd.models.fused.scorer import FusedScorer
from pmd.models.fused.weights import FusionWeights, features, logistic
from pmd.settings.fuse import FuseWeights

SHARES = np.linspace(0, 1, 21)
FOLDS = 5
PRIOR = 25
"""So many queries of the common curve are added to those of each relation and direction."""
CALIBRATED = 4
"""Batches of either direction that temperatures are fitted on, at most."""
BATCH, SCORES = 256, 2**26
"""Queries that are scored at a time, and their scores, at most."""
STEPS, RATE, DECAY = 300, 0.05, 1e-3
"""Of the gradient descent that fits shares by query."""


@dataclass(frozen=True, eq=False)
class Validated:
    """Validation queries (q), for whose known entities there is a structure.

    Args:
        scales: (2,) inverse temperatures of both parts.
        triples: (q,) the triple of each query.
        questions: (q,) relations, then inverse relations.
        features: (q, NUM_FEATURES).
        reciprocal: (q, shares) reciprocal ranks at every share of the grid.
    """

    scales: np.ndarray
    triples: np.ndarray
    questions: np.ndarray
    features: np.ndarray
    reciprocal: np.ndarray

    def where(self, chosen: np.ndarray) -> Validated:
        """These queries (bool (q,))."""
        parts = (part[chosen] for part in (self.triples, self.questions, self.features, self.reciprocal))
        return Validated(self.scales, *parts)

    def mrr(self, shares: np.ndarray) -> float:
        """The MRR with a share for each query, to the nearest of the grid."""
        columns = np.rint(shares * (len(SHARES) - 1)).astype(int)
        return float(self.reciprocal[np.arange(len(columns)), columns].mean())


@torch.no_grad()
def validate(scorer: FusedScorer, graph: KnowledgeGraph, *, max_triples: int, seed: int = 0) -> Validated:
    """Score the validation queries by both parts, and rank their answers at every share. PmdError if there are none."""
    triples = subsample(graph.valid, max_triples or None, seed)
    known = KnownAnswers.of(graph, "valid")
    batch_size = max(1, min(BATCH, SCORES // graph.num_entities))
    chunks = [
        _Chunk(scorer, graph, known, rows, triples[rows], target)
        for target in TARGETS
        for rows in torch.arange(len(triples)).split(batch_size)
    ]
    chunks = [chunk for chunk in chunks if len(chunk.rows)]
    if not chunks:
        raise PmdError(
            f"weights: graph '{graph.name}' has no validation triple of which both parts know the entities, and by these "
            "the weights are chosen; split some off: pmd data split"
        )
    scorer.prepare(triples)
    by_target = ([chunk for chunk in chunks if chunk.target == target] for target in TARGETS)
    scales = _scales([chunk for of_target in by_target for chunk in of_target[:CALIBRATED]])
    columns = zip(*((chunk.rows.numpy(), chunk.questions, *chunk.measure(scales)) for chunk in chunks))
    return Validated(scales, *(np.concatenate(column) for column in columns))


class _Chunk:
    """Validation queries for one target, those whose known entity the structure knows."""

    def __init__(
        self,
        scorer: FusedScorer,
        graph: KnowledgeGraph,
        known: KnownAnswers,
        rows: Tensor,
        triples: Tensor,
        target: Target,
    ):
        fusion, inverse = scorer.fusion, graph.num_relations * (target == "head")
        entities, questions = triples[:, KNOWN_COLUMN[target]].numpy(), triples[:, 1].numpy() + inverse
        knows = torch.from_numpy(fusion.known[entities] & fusion.asked[questions])
        self.scorer, self.graph, self.known, self.target = scorer, graph, known, target
        self.rows, self.triples, self.questions = rows[knows], triples[knows], questions[knows.numpy()]

    def scores(self) -> tuple[Tensor, Tensor]:
        """The scores (b, num_entities) of both parts."""
        text, structure = self.scorer.part_scores(self.scorer.parts(self.triples, self.target))
        return text.cpu(), structure.cpu()

    def excluded(self) -> Tensor:
        """Which entities (b, num_entities) do not compete: other answers, and those of another graph."""
        answers = self.triples[:, ANSWER_COLUMN[self.target]]
        candidates, shape = self.graph.candidates("valid"), (len(answers), self.graph.num_entities)
        excluded = torch.zeros(shape, dtype=torch.bool)
        if candidates is not None:
            excluded[:] = True
            excluded[:, candidates] = False
        row, entity = self.known.lookup(self.triples, self.target)
        excluded[row, entity] = True
        return excluded.scatter_(1, answers[:, None], False)

    def measure(self, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (b, f) and reciprocal ranks (b, shares)."""
        text, structure = self.scores()
        degrees = self.scorer.fusion.degrees[self.triples[:, KNOWN_COLUMN[self.target]].numpy()]
        described = features(scales, text.numpy(), structure.numpy(), degrees)
        excluded, answers = self.excluded(), self.triples[:, ANSWER_COLUMN[self.target], None]
        reciprocal = []
        for share in SHARES:
            scores = (text * ((1 - share) * scales[0]) + structure * (share * scales[1])).float()
            true = scores.gather(1, answers)
            scores.masked_fill_(excluded, -torch.inf)
            reciprocal.append(2 / (1 + (scores > true).sum(1) + (scores >= true).sum(1)).double())
        return described, torch.stack(reciprocal, 1).numpy()


def _scales(chunks: list[_Chunk]) -> np.ndarray:
    """The inverse temperatures (2,) of both parts at which the answers of some queries are most likely."""
    lists: tuple[list[Tensor], list[Tensor]] = ([], [])
    for chunk in chunks:
        excluded = chunk.excluded()
        for scores, part in zip(chunk.scores(), lists):
            part.append(scores.masked_fill(excluded, -torch.inf))
    answers = torch.cat([chunk.triples[:, ANSWER_COLUMN[chunk.target]] for chunk in chunks])
    return np.array([inverse_temperature(torch.cat(part), answers) for part in lists])


def inverse_temperature(scores: Tensor, answers: Tensor) -> float:
    """The β at which softmax(β · scores) (q, n) makes the answers (q,) most likely; −∞ for entities that do not compete.

    The likelihood is concave in β, and its slope the difference between the answers' scores and those expected."""
    finite = scores.masked_fill(scores.isinf(), 0.0)
    true = scores.gather(1, answers[:, None]).squeeze(1)
    spread = float(finite[scores.isfinite()].std().clamp(min=1e-12))
    low, high = np.log(1e-3 / spread), np.log(1e3 / spread)
    for _ in range(30):
        middle = (low + high) / 2
        slope = (true - (torch.softmax(scores * np.exp(middle), 1) * finite).sum(1)).mean()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(np.exp(low))


def choose(kind: FuseWeights, validated: Validated, num_questions: int) -> FusionWeights:
    """The weights that these queries choose."""
    curve = validated.reciprocal.mean(0)
    common = float(SHARES[_highest(curve)])
    shares = np.full(num_questions, common)
    coefficients = None
    if kind == "relation":
        for question in np.unique(validated.questions):
            own = validated.reciprocal[validated.questions == question].sum(0)
            shares[question] = SHARES[_highest(own + PRIOR * curve)]
    if kind == "query":
        coefficients = _fit_logistic(validated, common)
    return FusionWeights(validated.scales, shares, common, coefficients)


def _highest(curve: np.ndarray) -> int:
    """The place of the highest value of a curve over the shares, smoothed; of several, the middle one."""
    smooth = np.convolve(np.pad(curve, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    return int(best[len(best) // 2])


def _fit_logistic(validated: Validated, common: float) -> np.ndarray:
    """The coefficients by which shares follow from features: those with the highest mean reciprocal rank, between the shares
    of the grid by a line, less a penalty for weights of features."""
    x = torch.from_numpy(validated.features)
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    x, curves = (x - mean) / deviation, torch.from_numpy(validated.reciprocal)
    weights = torch.zeros(x.shape[1], dtype=torch.double, requires_grad=True)
    start = float(np.log(max(common, 0.02) / max(1 - common, 0.02)))
    constant = torch.tensor(start, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.Adam([weights, constant], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            position = torch.sigmoid(x @ weights + constant) * (len(SHARES) - 1)
            left = position.detach().floor().long().clamp(max=len(SHARES) - 2)[:, None]
            low, high = curves.gather(1, left), curves.gather(1, left + 1)
            value = low + (high - low) * (position[:, None] - left)
            loss = -value.mean() + DECAY * weights.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    weights = weights.detach() / deviation
    return torch.cat([weights, (constant.detach() - (weights * mean).sum())[None]]).numpy()


def shares_of(weights: FusionWeights, validated: Validated) -> np.ndarray:
    """The shares (q,) that weights give to queries."""
    if weights.by_query:
        return logistic(validated.features, weights.logistic)
    return weights.shares[validated.questions]


def cross_validated(kind: FuseWeights, validated: Validated, num_questions: int) -> float:
    """The MRR of queries by weights that the other folds chose; both queries of a triple are in one fold."""
    places = np.unique(validated.triples, return_inverse=True)[1]
    folds = np.random.default_rng(0).permutation(places.max() + 1)[places] % FOLDS
    total = 0.0
    for fold in np.unique(folds):
        rest, own = validated.where(folds != fold), validated.where(folds == fold)
        weights = choose(kind, rest if len(rest.questions) else own, num_questions)
        total += len(own.questions) * own.mrr(shares_of(weights, own))
    return total / len(validated.questions)
