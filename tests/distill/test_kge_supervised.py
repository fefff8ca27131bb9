"""The objective of one embedding model: every loss, from a batch to a number, against plain loops."""

import pytest
import torch

from pmd.core.types import TARGETS
from pmd.data.graphs.negatives import KvsAll
from pmd.distill.kge_supervised import KgeSupervised, LabelLoss, batch_scores, regularisers
from pmd.settings.kge import LossConfig

from . import slow_kge as slow
from .slow_kge import LOSSES, batch_of, build, rows_of

OPTIONS = pytest.mark.parametrize("options", LOSSES.values(), ids=LOSSES)
MODELS = pytest.mark.parametrize(
    ("name", "reciprocal"), [("transe", False), ("transh", True), ("rotate", False), ("complex", True)], ids=str
)


@OPTIONS
@MODELS
def test_labels_cost_what_a_plain_loop_says(options, name, reciprocal, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, name, reciprocal=reciprocal), batch_of(graph, options)
    objective = KgeSupervised(model, options)
    terms, rows = objective(batch), rows_of(model, batch, graph, options)
    assert [*terms] == ["hard"] and objective.weights["hard"] == 1
    assert terms["hard"].item() == pytest.approx(slow.hard(rows, options), rel=1e-4)
    assert objective.total(terms).item() == terms["hard"].item()
    if options.filtered or options.shared > 1:
        assert any(row.left_out for row in rows)


@OPTIONS
@MODELS
def test_rows_are_those_of_the_heads_then_of_the_tails(options, name, reciprocal, random_graph):
    graph = random_graph(2)
    model, batch = build(graph, name, reciprocal=reciprocal), batch_of(graph, options)
    rows = rows_of(model, batch, graph, options)
    found = batch_scores(model, batch)
    torch.testing.assert_close(found.detach(), torch.tensor([row.scores for row in rows]), rtol=1e-5, atol=1e-5)
    if options.name == "k_vs_all":
        pairs = sorted(map(tuple, batch.labels.T.tolist()))
        assert pairs == [(i, j) for i, row in enumerate(rows) for j in sorted(row.true)]
        assert len(pairs) > len(rows)
    elif options.filtered or options.shared > 1:
        marked = [[j in row.left_out for j in range(1, len(row.scores))] for row in rows]
        assert batch.false.tolist() == marked
    else:
        assert batch.false is None


@OPTIONS
def test_a_step_lowers_the_loss(options, random_graph):
    graph = random_graph(2)
    objective, batch = KgeSupervised(build(graph, "rotate"), options), batch_of(graph, options)
    before = objective(batch)["hard"]
    before.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.any()
            parameter -= 0.01 * parameter.grad
        assert objective(batch)["hard"] < before


@pytest.mark.parametrize("shared", [1, 2])
def test_a_batch_of_one_triple_has_one_side(shared, random_graph):
    graph, options = random_graph(2), LossConfig("logistic", margin=1.0, negatives=4, shared=shared)
    model, batch = build(graph, "transe"), batch_of(graph, options, count=1)
    found = KgeSupervised(model, options)(batch)["hard"].item()
    assert found == pytest.approx(slow.hard(rows_of(model, batch, graph, options), options), rel=1e-4)


def test_logits_are_scaled_after_the_margin():
    scores = torch.tensor([[-1.0, -4.0]])
    assert LabelLoss(LossConfig(margin=3.0, scale=0.5)).logits(scores).tolist() == [[1.0, -0.5]]


def slow_n3(model, triples):
    """Moduli of complex numbers, or the numbers as they are."""
    total = 0.0
    for h, r, t in triples:
        for factor in (model.entities[h], model.relations[r], model.entities[t]):
            for a, b in zip(*factor.tolist()):
                total += (a * a + b * b) ** 1.5 if model.name == "complex" else abs(a) ** 3 + abs(b) ** 3
    return total / len(triples)


@pytest.mark.parametrize("name", ["complex", "simple"])
@pytest.mark.parametrize("loss", ["logistic", "one_vs_all"])
def test_the_cubic_norm_is_that_of_the_triples_of_the_batch(name, loss, random_graph):
    graph, options = random_graph(2), LossConfig(loss, margin=0.0, negatives=4, n3=0.3)
    model, batch = build(graph, name), batch_of(graph, options)
    objective = KgeSupervised(model, options)
    terms = objective(batch)
    assert terms["n3"].item() == pytest.approx(slow_n3(model, batch.triples.tolist()), rel=1e-5)
    assert [*terms] == ["hard", "n3"]
    assert objective.total(terms).item() == pytest.approx(terms["hard"].item() + 0.3 * terms["n3"].item(), rel=1e-6)


def slow_constraint(model, triples):
    """Eq. 4 of TransH, with means in place of sums."""
    rows = [model.entities[e][0].tolist() for h, _, t in triples for e in (h, t)]
    total = sum(max(0.0, sum(x * x for x in row) - 1) for row in rows) / len(rows)
    if model.name == "transh":
        for _, r, _ in triples:
            w, d = model.relations[r].tolist()
            lengths = [sum(x * x for x in vector) for vector in (w, d)]
            total += max(0.0, sum(a * b for a, b in zip(w, d)) ** 2 / lengths[0] / lengths[1] - 1e-6) / len(triples)
    return total


@pytest.mark.parametrize("name", ["transe", "transh"])
def test_constraints_are_those_of_the_triples_of_the_batch(name, random_graph):
    graph, options = random_graph(2), LossConfig("margin", margin=1.0, negatives=4, constraint=0.25)
    model, batch = build(graph, name), batch_of(graph, options)
    objective = KgeSupervised(model, options)
    terms = objective(batch)
    expected = slow_constraint(model, batch.triples.tolist())
    assert expected > 0.01
    assert terms["constraint"].item() == pytest.approx(expected, rel=1e-5)
    total = terms["hard"].item() + 0.25 * terms["constraint"].item()
    assert objective.total(terms).item() == pytest.approx(total, rel=1e-6)


def test_without_a_weight_nothing_is_regularised(random_graph):
    graph, options = random_graph(2), LOSSES["logistic"]
    assert regularisers(build(graph, "complex"), batch_of(graph, options), options) == {}


def test_inverse_relations_are_regularised_where_they_are_asked(random_graph):
    graph, options = random_graph(2), LossConfig("one_vs_all", margin=0.0, n3=0.1)
    model, batch = build(graph, "complex", reciprocal=True), batch_of(graph, options)
    regularisers(model, batch, options)["n3"].backward()
    asked = {r + graph.num_relations for r in batch.triples[:, 1].tolist()}
    assert asked <= set(model.relation_rows.weight.grad.any(1).nonzero()[:, 0].tolist())


def test_the_open_place_of_a_query_is_not_regularised(random_graph):
    graph, options = random_graph(2), LossConfig("k_vs_all", margin=0.0, n3=0.1)
    examples = KvsAll(graph.train, graph.num_entities, graph.num_relations)
    heads, tails = (examples.queries[target] for target in TARGETS)
    positions = (heads[:, 2] > 0).nonzero()[:5, 0].tolist()
    positions += ((tails[:, 0] > 0).nonzero()[:5, 0] + len(heads)).tolist()
    model, batch = build(graph, "complex"), examples(positions)
    regularisers(model, batch, options)["n3"].backward()
    assert not model.entity_rows.weight.grad[0].any()


def test_what_is_trained_is_the_model(random_graph):
    graph = random_graph(2)
    model = build(graph, "transe")
    objective = KgeSupervised(model, LOSSES["logistic"])
    assert [*objective.state_dict()] == ["model.entity_rows.weight", "model.relation_rows.weight"]
    assert {id(p) for p in objective.parameters()} == {id(p) for p in model.parameters()}
