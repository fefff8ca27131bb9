"""Dimensions by what they are worth."""

import pytest
import torch

from pmd.core.kge_config import LossConfig
from pmd.distill.importance import dimension_order
from pmd.distill.kge import LabelLoss, batch_scores
from pmd.models.kge import KgeModel

from .slow_kge import batch_of

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
    assert dimension_order(model, "value", batch, OPTIONS).tolist() == [1, 3, 4, 2, 0]


def test_by_the_rise_of_the_loss(case):
    model, batch = case
    found = dimension_order(model, "loss", batch, OPTIONS)
    losses = []
    for dim in range(5):
        rest = torch.tensor([d for d in range(5) if d != dim])
        losses.append(LabelLoss(OPTIONS).hard(batch_scores(model.select(rest), batch), batch).item())
    assert found.tolist() == sorted(range(5), key=lambda dim: -losses[dim])


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
