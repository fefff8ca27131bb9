"""Confidences of triples as weights of their label losses: by value, by gradient, and against duplicated triples."""

import math
from dataclasses import replace

import pytest
import torch

from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives, Side
from pmd.data.texts.batches import TripleCollator
from pmd.distill.kge_dualde import DualDistillation
from pmd.distill.kge_med import MutualEvolution
from pmd.distill.kge_supervised import KgeSupervised, LabelLoss, batch_scores, batch_scores_widths
from pmd.distill.text_baselines import LogitDistillation
from pmd.distill.text_pmd import MaskedFeatureDistillation
from pmd.distill.text_supervised import Supervised
from pmd.losses.contrastive import contrastive_loss
from pmd.losses.med import evolutionary_loss
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import DualConfig, LossConfig
from pmd.settings.med import MedConfig, resolve_med
from pmd.settings.text import ContrastiveConfig, DistillConfig

from ..tiny import supervised_arguments, tiny_batch, tiny_graph, tiny_model, tiny_text
from . import slow_kge
from .slow_kge import LOSSES, batch_of, build, rows_of

OF_ROWS = {name: options for name, options in LOSSES.items() if options.name != "k_vs_all"}
ROWS = pytest.mark.parametrize("options", OF_ROWS.values(), ids=OF_ROWS)
EVOLUTION = resolve_med(MedConfig("med", w1=0.7, w2=0.4))


def drawn(count: int) -> torch.Tensor:
    """Confidences between 0.2 and 1.2, the first of them 0 and the second 2."""
    values = torch.rand(count, generator=torch.Generator().manual_seed(3)) + 0.2
    values[0], values[1] = 0.0, 2.0
    return values


def with_confidences(batch: KgeBatch, values: torch.Tensor | None) -> KgeBatch:
    sizes = [len(side.triples if side.labels is None else side.labels[0]) for side in batch.sides]
    parts = [None] * len(sizes) if values is None else values.split(sizes)
    return replace(batch, sides=[replace(side, confidences=part) for side, part in zip(batch.sides, parts)])


def chosen(batch: KgeBatch, rows: list[int]) -> KgeBatch:
    """Rows of a batch, in their order, without confidences; negatives that are shared are repeated for each."""
    sides, start = [], 0
    for side in batch.sides:
        end = start + len(side.triples)
        mine = [row - start for row in rows if start <= row < end]
        negatives = side.negatives
        if negatives is not None:
            size = -(-len(side.triples) // len(negatives))
            negatives = negatives.repeat_interleave(size, 0)[: len(side.triples)][mine]
        false = None if side.false is None else side.false[mine]
        if mine:
            sides.append(Side(side.target, side.triples[mine], negatives, false))
        start = end
    return KgeBatch(sides, batch.candidates)


def label_loss(model: KgeModel, batch: KgeBatch, options: LossConfig) -> float:
    return LabelLoss(options).hard(batch_scores(model, batch), batch).item()


@ROWS
def test_the_label_loss_is_the_mean_over_the_sum_of_confidences(options, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, "rotate"), batch_of(graph, options)
    each = [slow_kge.hard([row], options) for row in rows_of(model, batch, graph, options)]
    confidences = drawn(len(each))
    expected = sum(c * loss for c, loss in zip(confidences.tolist(), each)) / confidences.sum().item()
    assert label_loss(model, with_confidences(batch, confidences), options) == pytest.approx(expected, rel=1e-4)


@ROWS
def test_equal_confidences_change_nothing_and_a_doubled_one_is_a_duplicated_triple(options, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, "transe"), batch_of(graph, options)
    count = len(batch.triples)
    even = label_loss(model, with_confidences(batch, torch.full((count,), 0.3)), options)
    assert even == pytest.approx(label_loss(model, batch, options), rel=1e-6)
    doubled = torch.tensor([2.0 if row in (1, 5) else 1.0 for row in range(count)])
    duplicated = chosen(batch, [row for row in range(count) for _ in range(int(doubled[row]))])
    found = label_loss(model, with_confidences(batch, doubled), options)
    assert found == pytest.approx(label_loss(model, duplicated, options), rel=1e-5)
    assert found != pytest.approx(even, rel=1e-4)


@ROWS
def test_a_confidence_of_0_leaves_the_triple_out(options, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, "transe"), batch_of(graph, options)
    count = len(batch.triples)
    confidences = torch.tensor([0.0 if row == 4 else 1.0 for row in range(count)])
    weighted = with_confidences(batch, confidences)
    rest = label_loss(model, chosen(batch, [row for row in range(count) if row != 4]), options)
    assert label_loss(model, weighted, options) == pytest.approx(rest, rel=1e-5)
    scores = batch_scores(model, batch).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(LabelLoss(options).hard(scores, weighted), scores)
    assert not gradient[4].any() and gradient[[0, 1, 2, 3, 5, 6, 7, 8]].abs().sum(1).min() > 0
    nothing = LabelLoss(options).hard(scores, with_confidences(batch, torch.zeros(count)))
    assert nothing.item() == 0 and not torch.autograd.grad(nothing, scores)[0].any()


@pytest.mark.parametrize("name", ["k_vs_all", "k_vs_all, smoothed"])
def test_with_all_answers_at_once_confidences_weigh_the_entries_of_the_true_ones(name, random_graph):
    graph, options = random_graph(2), LOSSES[name]
    model, confidences = build(graph, "rotate"), drawn(len(graph.train))
    examples = KvsAll(graph.train, graph.num_entities, graph.num_relations, None, confidences)
    batch = examples(torch.randperm(len(examples))[:9].tolist())
    largest = {}
    for triple, confidence in zip(map(tuple, graph.train.tolist()), confidences.tolist()):
        largest[triple] = max(confidence, largest.get(triple, 0.0))
    assert len(largest) < len(graph.train)
    found = []
    for side in batch.sides:
        for row, entity in side.labels.T.tolist():
            h, r, t = side.triples[row].tolist()
            found.append(largest[(entity, r, t) if side.target == "head" else (h, r, entity)])
    assert batch.confidences.tolist() == pytest.approx(found)
    weights = torch.ones(len(batch.triples), graph.num_entities)
    for (row, column), confidence in zip(batch.labels.T.tolist(), found):
        weights[row, column] = confidence * len(found) / sum(found)
    total = 0.0
    for i, row in enumerate(rows_of(model, batch, graph, options)):
        for j, x in enumerate(slow_kge.logits_of(row, options)):
            label = (1 - options.label_smoothing) * (j in row.true) + options.label_smoothing / len(row.scores)
            p = slow_kge.sigmoid(x)
            total -= weights[i, j].item() * (label * math.log(p) + (1 - label) * math.log(1 - p))
    assert label_loss(model, batch, options) == pytest.approx(total / weights.numel(), rel=1e-4)
    even = with_confidences(batch, torch.full((len(found),), 3.0))
    assert label_loss(model, even, options) == pytest.approx(label_loss(model, with_confidences(batch, None), options))


def test_batches_hold_the_confidences_of_their_triples(random_graph):
    graph = random_graph(2)
    values = torch.arange(len(graph.train), dtype=torch.float)
    positions = [7, 3, 30, 12, 5]
    sampled = SampledNegatives(graph.train, graph.num_entities, 4, confidences=values)(positions)
    assert sampled.confidences.tolist() == positions
    plain = SampledNegatives(graph.train, graph.num_entities, 4)(positions)
    assert plain.confidences is None
    assert all(torch.equal(one.negatives, other.negatives) for one, other in zip(sampled.sides, plain.sides))
    assert OneVsAll(graph.train, confidences=values)(positions).confidences.tolist() == [*positions, *positions]
    tiny = tiny_graph()
    texts = TripleCollator(tiny.train, tiny_text(), 60, torch.arange(len(tiny.train)))([4, 2, 9])
    assert texts.confidences.tolist() == [4, 2, 9, 4, 2, 9]
    assert texts.to(torch.device("cpu")).confidences.tolist() == texts.confidences.tolist()


def test_soft_labels_and_regularisers_are_not_weighted(random_graph):
    graph, options = random_graph(2), replace(LOSSES["logistic"], constraint=0.1)
    batch = batch_of(graph, options)
    weighted = with_confidences(batch, drawn(len(batch.triples)))
    models = build(graph, "transe", dim=4, seed=1), build(graph, "transe", dim=16, seed=2)
    objective = DualDistillation(*models, options, options, DualConfig(0.3, 0.6), release=True)
    before, after = objective(batch), objective(weighted)
    changed = {name for name in before if before[name].item() != after[name].item()}
    assert changed == {"hard", "teacher_hard"}
    expected = KgeSupervised(models[0], options)(weighted)["hard"].item()
    assert after["hard"].item() == pytest.approx(expected)


def med(graph, options, settings) -> MutualEvolution:
    torch.manual_seed(0)
    model = KgeModel("rotate", graph.num_entities, graph.num_relations, 6, (2, 3, 6))
    return MutualEvolution(model, options, settings)


@pytest.mark.parametrize("name", ["softmax", "logistic, adversarial", "margin"])
def test_all_widths_weigh_their_label_losses(name, random_graph):
    graph, options = random_graph(2), LOSSES[name]
    objective, batch = med(graph, options, resolve_med(MedConfig("joint", mutual=0.5))), batch_of(graph, options)
    weighted = with_confidences(batch, drawn(len(batch.triples)))
    each = [label_loss(objective.model.crop(width), weighted, options) for width in (2, 3, 6)]
    before, after = objective(batch), objective(weighted)
    assert after["hard"].item() == pytest.approx(sum(each) / 3, rel=1e-4)
    assert after["mutual"].item() == before["mutual"].item()


def test_evolutionary_weights_count_a_triple_as_often_as_its_confidence_says(random_graph):
    graph, options = random_graph(2), LOSSES["logistic"]
    objective, batch = med(graph, options, EVOLUTION), batch_of(graph, options)
    count = len(batch.triples)
    often = [1, 2, 0, 1, 3, 1, 1, 0, 2]
    weighted = with_confidences(batch, torch.tensor(often, dtype=torch.float))
    duplicated = chosen(batch, [row for row in range(count) for _ in range(often[row])])
    gradients = {}
    for name, of in {"weighted": weighted, "duplicated": duplicated}.items():
        loss = objective(of)["hard"]
        gradients[name] = [loss, *torch.autograd.grad(loss, [p for p in objective.parameters() if p.requires_grad])]
    for one, other in zip(*gradients.values()):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    even = objective(with_confidences(batch, torch.full((count,), 0.5)))["hard"].item()
    assert even == pytest.approx(objective(batch)["hard"].item(), rel=1e-6)
    scores = batch_scores_widths(objective.model, batch, (2, 3, 6)).detach().requires_grad_()
    loss = evolutionary_loss(scores, 0.7, 0.4, batch.false, weighted.confidences).sum()
    (gradient,) = torch.autograd.grad(loss, scores)
    assert not gradient[:, [2, 7]].any() and gradient[:, [0, 1, 3, 4, 5, 6, 8]].abs().sum(-1).min() > 0
    nothing = evolutionary_loss(scores, 0.7, 0.4, None, torch.zeros(count))
    assert nothing.tolist() == [0, 0, 0]


def slow_contrastive(logits, false, head, head_is_answer, confidences) -> float:
    """Query by query and answer by answer."""
    total = weights = 0.0
    for i, confidence in enumerate(confidences.tolist()):
        for asked, table, marks in ((True, logits, false), (False, logits.T, false.T)):
            others = [x for x, wrong in zip(table[i].tolist(), marks[i].tolist()) if not wrong]
            others += [head[i].item()] if asked and not head_is_answer[i] else []
            total += confidence * (math.log(sum(map(math.exp, others))) - logits[i, i].item())
        weights += confidence
    return total / weights


def test_both_directions_of_the_contrastive_loss_are_weighted():
    generator = torch.Generator().manual_seed(0)
    logits, head = torch.randn(5, 5, generator=generator), torch.randn(5, generator=generator)
    false = (torch.rand(5, 5, generator=generator) < 0.3) & ~torch.eye(5, dtype=torch.bool)
    seen, confidences = torch.tensor([True, False, False, True, False]), drawn(5)
    options = {"head": head.requires_grad_(), "head_is_answer": seen}
    found = contrastive_loss(logits, false, **options, confidences=confidences / confidences.mean())
    assert found.item() == pytest.approx(slow_contrastive(logits, false, head, seen, confidences), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, head)
    assert gradient[0] == 0 and (gradient[[1, 2, 4]] > 0).all()


def text_objectives():
    arguments = supervised_arguments(tiny_model(1, seed=1), ContrastiveConfig(pre_batches=1))
    teacher, text = tiny_model(2, seed=2), tiny_text()
    distilled = {"teacher": teacher, "distill": DistillConfig(alpha=0.3, beta=0.0)}
    yield Supervised(*arguments)
    yield LogitDistillation(*arguments, **distilled)
    yield MaskedFeatureDistillation(
        *arguments, **distilled, mask_rate=0.0, mask=text.mask, special=torch.tensor(text.special)
    )


def weighted_batch(positions, values):
    return replace(tiny_batch(positions), confidences=None if values is None else torch.tensor(values).repeat(2))


def test_text_objectives_weigh_the_label_term_alone():
    positions, values = [7, 8, 9, 10, 11, 0], [0.0, 2.0, 0.3, 1.0, 0.5, 0.9]
    for objective in text_objectives():
        objective.eval()
        plain, even, weighted = (
            {name: term.item() for name, term in objective(weighted_batch(positions, confidences)).items()}
            for confidences in (None, [0.5] * 6, values)
        )
        assert even == pytest.approx(plain, rel=1e-6)
        assert {name for name in plain if plain[name] != pytest.approx(weighted[name], rel=1e-6)} == {"ce"}


def test_the_label_term_of_texts_is_linear_in_the_confidences():
    """The loss of a batch is the weighted mean of what its triples cost one by one, all others being negatives."""
    positions, values = [1, 2, 3, 13, 14, 12], [0.0, 2.0, 0.3, 1.0, 0.5, 0.9]
    objective = next(text_objectives()).eval()

    def loss(confidences) -> float:
        return objective(weighted_batch(positions, confidences))["ce"].item()

    each = [loss([float(i == j) for j in range(6)]) for i in range(6)]
    assert loss(None) == pytest.approx(sum(each) / 6, rel=1e-5)
    assert loss(values) == pytest.approx(sum(c * x for c, x in zip(values, each)) / sum(values), rel=1e-5)
