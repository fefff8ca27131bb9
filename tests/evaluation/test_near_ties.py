"""Candidates that are a rounding apart: ranks by one rule, however queries and widths are put together."""

import numpy as np
import pytest
import torch

from pmd.core.types import TARGETS
from pmd.evaluation import width_ranking
from pmd.evaluation.ranking import ranks
from pmd.evaluation.width_ranking import ranks_widths
from pmd.models.kge.model import KgeModel
from pmd.settings.catalogue import INTERACTIONS

from .oracle import slow_ranks

WIDTHS = (5, 8, 24)
CLASSES = {name: row.load_class() for name, row in INTERACTIONS.items()}
CASES = [(name, norm) for name, kind in CLASSES.items() for norm in kind.norms or (None,) if kind.has_running_sums]
BATCHES = (1, 7, 64, 1000)
VALUES = ["drawn", pytest.param("quantised", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def planted(graph, name, norm=None, values="drawn", widths=WIDTHS):
    """Equal rows, neighbouring floats, and permuted dimensions before queries that are alike in all of them."""
    torch.manual_seed(3)
    model = KgeModel(name, graph.num_entities, graph.num_relations, WIDTHS[-1], widths=widths, norm=norm)
    with torch.no_grad():
        entities, relations = model.entities, model.relations
        if values == "quantised":
            entities.copy_(entities.mul(64).round().div(64))
            relations.copy_(relations.mul(64).round().div(64))
        relations[0] = relations[0, :, :1]
        entities[:8] = entities[:8, :, :1]
        for first in range(8, graph.num_entities - 8, 8):
            base = entities[first].clone()
            entities[first + 1] = base
            for i, place in ((2, 0), (3, 4), (4, 7), (5, 23)):
                entities[first + i] = base
                entities[first + i, 0, place] = torch.nextafter(base[0, place], torch.tensor(9.0))
            entities[first + 6, :, :5] = base[:, [3, 1, 4, 0, 2]]
            entities[first + 6, :, 5:] = base[:, 5:].flip(-1)
            entities[first + 7] = entities[first + 6]
    return model


@torch.no_grad()
def slow_scores(model, triples, target, width):
    """{(known, relation): scores of all candidates} by the rule: number by number in double precision, then rounded."""
    norm, place, found = model.norm, model.asked_target(target), {}
    for known, relation in {(h if target == "tail" else t, r) for h, r, t in triples.tolist()}:
        r = model.relations[relation, :, :width]
        q = model.interaction.query(model.entities[known, :, :width], r, place)
        c = model.interaction.candidate(model.entities[..., :width], r, place)
        if norm == "l1":  # in single precision throughout
            scores = torch.zeros(len(c))
            for d in range(width):
                first, *others = (q[..., d] - c[..., d]).unbind(-1)
                scores -= (first * first).addcmul_(others[0], others[0]).sqrt() if others else first.abs()
        else:
            q, c, total = q.double().numpy(), c.double().numpy(), np.zeros(len(c))
            for d in range(width):
                terms = q[:, d] * c[..., d] if norm is None else (q[:, d] - c[..., d]) ** 2
                total += terms[:, 0] if terms.shape[1] == 1 else terms[:, 0] + terms[:, 1]
            scores = torch.from_numpy(total.astype(np.float32))
            if norm:
                distance = scores.sqrt()  # NumPy rounds some roots the other way
                scores = -(distance * distance if norm == "squared" else distance)
        found[known, relation] = scores.tolist()
    return found


def as_rows(side):
    return list(zip(side.optimistic.tolist(), side.pessimistic.tolist(), side.num_candidates.tolist()))


def assert_equal_ranks(one, other, name=""):
    for target in TARGETS:
        assert as_rows(one.sides[target]) == as_rows(other.sides[target]), (name, target)
        assert torch.equal(one.sides[target].realistic, other.sides[target].realistic)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(("name", "norm"), CASES)
def test_ranks_are_those_of_the_rule_whatever_the_batch(name, norm, values, random_graph, monkeypatch):
    graph = random_graph(8, entities=40, train=120, test=40)
    model = planted(graph, name, norm, values)
    first = ranks_widths(model, graph)
    for size, block, many in zip(BATCHES, (2**19, 200, 2**19, 900), (1, 10**9, 10**9, 50)):
        monkeypatch.setattr(width_ranking, "CPU_BLOCK", block)
        monkeypatch.setattr(width_ranking, "NEAR_SHARE", many)  # one in so many may be compared as pairs
        for width, of_width in ranks_widths(model, graph, batch_size=size).items():
            assert_equal_ranks(of_width, first[width], (size, width))
    for width, of_width in first.items():
        for target, side in of_width.sides.items():
            slow = slow_scores(model, graph.test, target, width)
            expected = slow_ranks(
                lambda known, r, e, slow=slow: slow[known, r][e], graph, "test", target, True, list(range(40))
            )
            assert as_rows(side) == expected, (width, target)
    both = first[WIDTHS[-1]].both
    assert (both.pessimistic > both.optimistic).any() and (both.optimistic > 1).any()


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_ranks_do_not_depend_on_the_other_widths(name, norm, random_graph):
    graph = random_graph(8, entities=40, train=120, test=40)
    every = ranks_widths(planted(graph, name, norm), graph)
    for widths in ((24,), (8, 24), (1, 2, 3, 5, 7, 8, 20, 24)):
        some = ranks_widths(planted(graph, name, norm, widths=widths), graph, batch_size=7)
        for width in {*widths} & {*WIDTHS}:
            assert_equal_ranks(some[width], every[width], (widths, width))


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[1]])
@pytest.mark.parametrize("values", VALUES)
def test_a_distance_is_ranked_alike_in_any_batch_and_by_itself(name, norm, values, random_graph):
    graph = random_graph(8, entities=40, train=120, test=40)
    model = planted(graph, name, norm, values)
    found = ranks_widths(model, graph)
    for width in WIDTHS:
        crop = model.crop(width)
        first = ranks(crop, graph)
        for size in BATCHES:
            assert_equal_ranks(ranks(crop, graph, batch_size=size), first, (width, size))
        if norm != "l1" and values == "drawn":  # sums in another order, and midpoints between two scores, may differ
            assert_equal_ranks(first, found[width], width)


@pytest.mark.parametrize(("name", "norm"), [("complex", None), ("transe", "l2")])
def test_coarse_products_are_no_other_rule(name, norm, random_graph):
    graph = random_graph(8, entities=40, train=120, test=40)
    model = planted(graph, name, norm)
    expected = ranks_widths(model, graph)
    torch.set_float32_matmul_precision("medium")
    try:
        found = ranks_widths(model, graph, batch_size=7)
    finally:
        torch.set_float32_matmul_precision("highest")
    for width in WIDTHS:
        assert_equal_ranks(found[width], expected[width], width)


@pytest.mark.parametrize(("name", "norm"), [("transe", "l2"), ("rotate", "l2"), ("pairre", "l2"), ("transe", "l1")])
@pytest.mark.parametrize(
    "size", [1e-17, *(pytest.param(size, marks=pytest.mark.slow) for size in (1e-22, 1e-25)), 1e-30]
)
def test_very_small_vectors_keep_their_order(name, norm, size, random_graph):
    """Their squares are 0 in single precision."""
    graph = random_graph(8, entities=40, train=120, test=40)
    torch.manual_seed(1)
    model = KgeModel(name, 40, graph.num_relations, 24, widths=WIDTHS, norm=norm)
    with torch.no_grad():
        model.entities.mul_(64).round_().div_(64)
        if name == "transe":
            model.relations.mul_(64).round_().div_(64)
        alike = ranks_widths(model, graph)
        tiny = 2.0 ** round(np.log2(size))  # exact
        model.entities.mul_(tiny)
        if name == "transe":
            model.relations.mul_(tiny)
    found = ranks_widths(model, graph)
    for width in WIDTHS:
        assert_equal_ranks(found[width], alike[width], width)
        for batch in (1, 1000):
            if norm == "l2":
                assert_equal_ranks(ranks(model.crop(width), graph, batch_size=batch), alike[width], (width, batch))
