"""Dimensions by what they are worth."""

from dataclasses import replace

import pytest
import torch

from pmd.distill import kge_dimension_order as importance
from pmd.distill.kge_dimension_order import dimension_order, losses_without
from pmd.distill.kge_supervised import LabelLoss, batch_scores
from pmd.models.kge.model import KgeModel
from pmd.settings.kge import LossConfig

from .slow_kge import LOSSES, batch_of, build

OPTIONS = LossConfig("softmax", margin=0.0, negatives=5)


@pytest.fixture
def case(random_graph):
    graph = random_graph(2)
    torch.manual_seed(0)
    return KgeModel("rotate", graph.num_entities, graph.num_relations, 5), batch_of(graph, OPTIONS)


def test_by_value(case):
    model, batch = case
    with torch.no_grad():
        model.entities.copy_(torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0]).expand_as(model.entities))
        model.relations.fill_(1.0)
    assert dimension_order(model, "value", [batch], OPTIONS).tolist() == [1, 3, 4, 2, 0]


def plain(model, batches, options):
    """Loss by dimension of models that do not have it, summed over queries and divided by their number."""
    losses = []
    for dim in range(model.dim):
        less = model.select(torch.tensor([d for d in range(model.dim) if d != dim]))
        each = [LabelLoss(options).hard(batch_scores(less, batch), batch).item() for batch in batches]
        sizes = [sum(len(side.triples) for side in batch.sides) for batch in batches]
        losses.append(sum(size * loss for size, loss in zip(sizes, each)) / sum(sizes))
    return losses


def check(model, graph, options):
    batches = [batch_of(graph, options), batch_of(graph, options, count=4, seed=1)]
    before = [table.clone() for table in (model.entities, model.relations)]
    found, expected = losses_without(model, iter(batches), options), plain(model, batches, options)
    assert found.tolist() == pytest.approx(expected, rel=1e-5) and len({*found.tolist()}) == model.dim
    order = dimension_order(model, "loss", batches, options)
    assert order.tolist() == sorted(range(model.dim), key=lambda dim: -found[dim])
    assert torch.equal(model.entities, before[0]) and torch.equal(model.relations, before[1])


@pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(("name", "reciprocal"), [("rotate", False), ("transh", True), ("pairre", True)], ids=str)
def test_the_loss_without_a_dimension_is_that_of_a_model_without_it(options, name, reciprocal, random_graph):
    graph = random_graph(2)
    check(build(graph, name, reciprocal=reciprocal), graph, options)


INTERACTIONS_WITH_NORMS = [("complex", None), ("simple", None)]
INTERACTIONS_WITH_NORMS += [
    (name, norm) for name in ("transe", "transh", "rotate", "pairre") for norm in ("l1", "l2", "squared")
]


@pytest.mark.parametrize("unit", [False, True], ids=["", "unit"])
@pytest.mark.parametrize("terms", [1, 500, importance.MAX_TERMS])
@pytest.mark.parametrize(("name", "norm"), INTERACTIONS_WITH_NORMS, ids=str)
def test_of_every_interaction(name, norm, terms, unit, random_graph, monkeypatch):
    monkeypatch.setattr(importance, "MAX_TERMS", terms)  # one dimension at a time, a few, and all
    graph = random_graph(2)
    torch.manual_seed(0)
    sizes = (graph.num_entities, graph.num_relations)
    model = KgeModel(name, *sizes, dim=6, norm=norm, unit_entities=unit, init=0.5)
    check(model, graph, LOSSES["logistic, adversarial"])


@pytest.mark.parametrize("name", ["complex", "transh"])
def test_against_some_of_the_entities(name, random_graph):
    graph, options = random_graph(2), LOSSES["one_vs_all"]
    batch = replace(batch_of(graph, options), candidates=torch.arange(graph.num_entities - 1))
    model = build(graph, name)
    found = losses_without(model, [batch], options)
    assert found.tolist() == pytest.approx(plain(model, [batch], options), rel=1e-5)
    assert not torch.allclose(found, losses_without(model, [batch_of(graph, options)], options))


def test_of_a_single_dimension(random_graph):
    graph = random_graph(2)
    batch = batch_of(graph, OPTIONS)
    for name in ("rotate", "transh"):
        model = build(graph, name, dim=1)
        assert dimension_order(model, "loss", [batch], OPTIONS).tolist() == [0]


def test_select_takes_dimensions_in_their_order(case):
    model, batch = case
    chosen = model.select(torch.tensor([3, 0]))
    assert chosen.dim == 2 and chosen.widths == (2,)
    assert torch.equal(chosen.entities, model.entities[..., [3, 0]])
    assert torch.equal(chosen.relations, model.relations[..., [3, 0]])
    croppable = KgeModel("transe", 7, 2, 5, widths=(2, 4, 5))
    assert croppable.select(torch.tensor([4, 0, 1, 2])).widths == (
        4,
    )  # its first two are not the two that were trained
    assert croppable.crop(4).widths == (2, 4) and croppable.crop(3).widths == (2, 3)
    every = model.select(torch.randperm(5))
    torch.testing.assert_close(batch_scores(every, batch), batch_scores(model, batch))
