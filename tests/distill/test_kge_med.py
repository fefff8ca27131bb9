"""All widths in one objective, against one model a width, and against loops."""

import math

import pytest
import torch
from torch.nn.functional import huber_loss

from pmd.distill.kge_med import MutualEvolution
from pmd.distill.kge_supervised import KgeSupervised, LabelLoss, batch_scores, batch_scores_widths
from pmd.losses.med import evolutionary_loss
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig
from pmd.settings.med import MedConfig, resolve_med

from .slow_kge import batch_of

WIDTHS = (2, 3, 6)
SAMPLED = {
    "softmax": LossConfig("softmax", margin=0.0, scale=3.0, negatives=5),
    "softmax, shared": LossConfig("softmax", margin=0.0, negatives=20, shared=3, filtered=True),
    "logistic": LossConfig("logistic", margin=2.0, scale=1.5, negatives=5),
    "logistic, adversarial": LossConfig("logistic", margin=2.0, negatives=5, adversarial=0.5, filtered=True),
    "margin": LossConfig("margin", margin=1.5, negatives=5),
}
LOSSES = pytest.mark.parametrize("options", SAMPLED.values(), ids=SAMPLED)
MODELS = pytest.mark.parametrize(
    ("name", "reciprocal"),
    [("transe", False), ("transh", True), ("rotate", False), ("complex", True), ("simple", False), ("pairre", True)],
    ids=str,
)


def build(graph, name="rotate", reciprocal=False, norm=None):
    torch.manual_seed(0)
    return KgeModel(name, graph.num_entities, graph.num_relations, 6, WIDTHS, norm=norm, reciprocal=reciprocal)


def objective_of(graph, options, name="rotate", **med):
    return MutualEvolution(build(graph, name), options, resolve_med(MedConfig("joint", **med)))


def gradients(objective, loss):
    model = objective.model
    return torch.autograd.grad(loss, (model.entity_rows.weight, model.relation_rows.weight), retain_graph=True)


@LOSSES
@MODELS
def test_the_scores_of_a_width_are_those_of_its_crop(options, name, reciprocal, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, name, reciprocal), batch_of(graph, options)
    found = batch_scores_widths(model, batch, WIDTHS)
    for scores, width in zip(found, WIDTHS):
        torch.testing.assert_close(scores, batch_scores(model.crop(width), batch), rtol=1e-4, atol=1e-5)


@LOSSES
def test_joint_training_is_the_mean_of_the_crops_losses(options, random_graph):
    graph = random_graph(2)
    objective, batch = objective_of(graph, options), batch_of(graph, options)
    terms = objective(batch)
    assert [*terms] == ["hard"]
    crops = [KgeSupervised(objective.model.crop(width), options) for width in WIDTHS]
    each = [crop(batch)["hard"] for crop in crops]
    assert terms["hard"].item() == pytest.approx(sum(loss.item() for loss in each) / 3, rel=1e-5)
    total, _ = gradients(objective, terms["hard"])
    expected = torch.zeros_like(objective.model.entities)
    for crop, loss, width in zip(crops, each, WIDTHS):
        loss.backward()
        expected[..., :width] += crop.model.entity_rows.weight.grad.unflatten(-1, (-1, width)) / 3
    torch.testing.assert_close(total.view_as(expected), expected, rtol=1e-4, atol=1e-6)


def test_with_a_prefix_of_zero_each_width_trains_only_what_it_adds(random_graph):
    graph, options = random_graph(2), SAMPLED["softmax"]
    objective, batch = objective_of(graph, options, prefix=0.0), batch_of(graph, options)
    scores = batch_scores_widths(objective.model, batch, WIDTHS, 0.0)
    for i, (before, width) in enumerate(zip((0, *WIDTHS), WIDTHS)):
        (found,) = torch.autograd.grad(scores[i].square().sum(), objective.model.entity_rows.weight, retain_graph=True)
        found = found.view_as(objective.model.entities)
        assert found[..., :before].abs().sum() == 0 and found[..., width:].abs().sum() == 0
        assert found[..., before:width].abs().sum() > 0
    plain = objective_of(graph, options)
    assert objective(batch)["hard"].item() == plain(batch)["hard"].item()  # values are the same


def test_the_power_evens_out_the_widths(random_graph):
    graph, options = random_graph(2), SAMPLED["softmax"]
    objective, batch = objective_of(graph, options, power=0.5), batch_of(graph, options)
    scores = batch_scores_widths(objective.model, batch, WIDTHS)
    labels = LabelLoss(options)
    each = [labels.hard(s * math.sqrt(6 / width), batch).item() for s, width in zip(scores, WIDTHS)]
    assert objective(batch)["hard"].item() == pytest.approx(sum(each) / 3, rel=1e-5)


def test_calibrated_widths_learn_their_factors(random_graph):
    graph, options = random_graph(2), SAMPLED["softmax"]
    objective, batch = objective_of(graph, options, power=0.5, calibrated=True), batch_of(graph, options)
    plain = objective_of(graph, options, power=0.5)
    terms = objective(batch)
    assert terms["hard"].item() == pytest.approx(plain(batch)["hard"].item())
    assert terms["scale_2"].item() == pytest.approx(math.sqrt(3)) and terms["scale_6"].item() == pytest.approx(1)
    objective.total(terms).backward()
    found = objective.log_factors.grad
    labels, scores = LabelLoss(options), batch_scores_widths(objective.model, batch, WIDTHS).detach()
    for i, width in enumerate(WIDTHS):
        each = [labels.hard(scores[i] * math.sqrt(6 / width) * math.exp(step), batch).item() for step in (-1e-3, 1e-3)]
        assert found[i].item() == pytest.approx((each[1] - each[0]) / 2e-3 / 3, rel=2e-2, abs=1e-3)
    assert plain.log_factors.requires_grad is False


@pytest.mark.parametrize("improvement", ["literal", "bounded"])
def test_evolution_mutual_learning_and_dynamic_weights_by_a_loop(improvement, random_graph):
    """Eq. 2 to 6 as the paper has them, width by width and triple by triple."""
    graph, options = random_graph(2), SAMPLED["logistic"]
    med = MedConfig("med", improvement=improvement, w1=0.7, w2=0.4, w3=0.5)
    objective = MutualEvolution(build(graph), options, resolve_med(med, distance=True))
    batch = batch_of(graph, options)
    terms = objective(batch)
    assert [*terms] == ["hard", "mutual", "w1", "w2", "w3"]
    scores = torch.stack([batch_scores(objective.model.crop(width), batch) for width in WIDTHS])
    logits = options.scale * (scores + options.margin)
    total = 0.0
    for i, width in enumerate(WIDTHS):
        positive, negative = logits[i, :, 0], logits[i, :, 1:]
        p, n = torch.ones_like(positive), torch.ones_like(negative)
        if i:
            belief = scores[i - 1, :, 0] if improvement == "literal" else logits[i - 1, :, 0].sigmoid().clamp(min=0.1)
            p = (0.7 / belief).exp()
            n = (0.4 * logits[i - 1, :, 1:]).exp()
        loss = -(p / p.sum() * positive.sigmoid().log()).sum() - (n / n.sum() * (1 - negative.sigmoid()).log()).sum()
        total += math.exp(0.5 * width / 6) * loss.item()
    assert terms["hard"].item() == pytest.approx(total / 3, rel=1e-4)
    mutual = [huber_loss(scores[i], scores[i - 1]).item() for i in (1, 2)]
    assert terms["mutual"].item() == pytest.approx(sum(mutual) / 2, rel=1e-4)
    assert objective.total(terms).item() == pytest.approx(terms["hard"].item() + terms["mutual"].item(), rel=1e-5)
    objective.total(terms).backward()
    assert all(getattr(objective, name).grad.abs() > 0 for name in ("w1", "w2", "w3"))


@pytest.mark.parametrize(("rate", "rates"), [(1e-3, {"w1": 1e-3, "w2": 1e-3, "w3": 1e-3}), (None, {})])
def test_learned_weights_have_a_rate_of_their_own(rate, rates, random_graph):
    objective = MutualEvolution(
        build(random_graph(2)), SAMPLED["logistic"], resolve_med(MedConfig("med", weight_lr=rate))
    )
    assert objective.rates == rates and rates.keys() <= dict(objective.named_parameters()).keys()
    fixed = resolve_med(MedConfig("med", learned=False))
    assert not MutualEvolution(build(random_graph(2)), SAMPLED["logistic"], fixed).rates


def test_the_literal_form_reads_the_scores_that_the_loss_sees(random_graph):
    """Scaled by `power`, without margin and scale of the logits."""
    graph, options = random_graph(2), SAMPLED["logistic"]
    med = resolve_med(MedConfig("med", power=0.5, dynamic=False, mutual=0.0, w1=5.0), distance=True)
    objective, batch = MutualEvolution(build(graph), options, med), batch_of(graph, options)
    factors = torch.tensor([math.sqrt(6 / width) for width in WIDTHS])[:, None, None]
    scores = torch.stack([batch_scores(objective.model.crop(width), batch) for width in WIDTHS]) * factors
    logits = options.scale * (scores + options.margin)
    expected = evolutionary_loss(logits, 5.0, 1.0, scores=scores[..., 0]).mean()
    assert objective(batch)["hard"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert expected.item() != pytest.approx(evolutionary_loss(logits, 5.0, 1.0).mean().item(), rel=1e-3)


def test_fixed_weights_are_not_trained(random_graph):
    graph, options = random_graph(2), SAMPLED["logistic"]
    objective = MutualEvolution(build(graph), options, resolve_med(MedConfig("med", learned=False)))
    assert [name for name, p in objective.named_parameters() if p.requires_grad] == [
        "model.entity_rows.weight",
        "model.relation_rows.weight",
    ]
    assert "w1" not in objective(batch_of(graph, options))


@LOSSES
@pytest.mark.parametrize("teacher", ["next", "widest"])
def test_soft_labels_go_from_wide_to_narrow_alone(options, teacher, random_graph):
    graph = random_graph(2)
    objective, batch = objective_of(graph, options, soft=0.5, teacher=teacher), batch_of(graph, options)
    terms = objective(batch)
    scores = [batch_scores(objective.model.crop(width), batch) for width in WIDTHS]
    labels = LabelLoss(options)
    pairs = [(0, 1), (1, 2)] if teacher == "next" else [(0, 2), (1, 2)]
    each = [labels.soft(scores[i], scores[j], labels).item() for i, j in pairs]
    assert terms["soft"].item() == pytest.approx(sum(each) / 2, rel=1e-4)
    assert objective.weights["soft"] == 0.5
    # The widest gives and takes nothing: the dimensions that it alone has are left as they are.
    found, _ = gradients(objective, terms["soft"])
    found = found.view_as(objective.model.entities)
    assert found[..., 3:].abs().sum() == 0 and found[..., :3].abs().sum() > 0


def test_a_draw_keeps_the_widest_and_changes(random_graph):
    graph, options = random_graph(2), SAMPLED["softmax"]
    objective, batch = objective_of(graph, options, draw=2), batch_of(graph, options)
    torch.manual_seed(0)
    seen = {tuple(objective.draw_widths()[0]) for _ in range(20)}
    assert seen == {(0, 2), (1, 2)}
    torch.manual_seed(0)
    chosen, _ = objective.draw_widths()
    torch.manual_seed(0)
    found = objective(batch)["hard"].item()
    each = [LabelLoss(options).hard(batch_scores(objective.model.crop(WIDTHS[i]), batch), batch) for i in chosen]
    assert found == pytest.approx(sum(loss.item() for loss in each) / 2, rel=1e-5)
    assert objective_of(graph, options, draw=3).draw_widths() == (slice(None), [*WIDTHS])


def test_regularisers_see_the_whole_width(random_graph):
    graph, options = random_graph(2), LossConfig("softmax", margin=0.0, negatives=5, constraint=0.1)
    objective, batch = objective_of(graph, options), batch_of(graph, options)
    whole = KgeSupervised(objective.model.crop(6), options)(batch)
    assert objective(batch)["constraint"].item() == pytest.approx(whole["constraint"].item())
    assert objective.weights["constraint"] == 0.1
