"""All widths ranked in one pass: the ranks of each cropped model, with ties, filters and few candidates."""

import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.evaluation import width_ranking
from pmd.evaluation.ranking import ranks
from pmd.evaluation.width_ranking import rank_widths, ranks_widths
from pmd.models.interactions import INTERACTIONS
from pmd.models.kge import KgeModel

WIDTHS = (2, 3, 6)
CASES = [(name, norm) for name, kind in INTERACTIONS.items() for norm in kind.norms or (None,)]
SUMMED = [(name, norm) for name, norm in CASES if INTERACTIONS[name].has_running_sums]


def model_of(graph, name, norm=None, seed=0, **options):
    torch.manual_seed(seed)
    return KgeModel(name, graph.num_entities, graph.num_relations, 6, widths=WIDTHS, norm=norm, **options)


def whole_numbers(model):
    """Few values, so that many candidates tie exactly, in any order of summing."""
    with torch.no_grad():
        for table in (model.entity_rows, model.relation_rows):
            table.weight.copy_(torch.randint(-1, 2, table.weight.shape).to(table.weight))
    return model


def assert_same(found, graph, model, **options):
    assert [*found] == [*WIDTHS]
    for width, of_width in found.items():
        expected = ranks(model.crop(width), graph, "test", **options)
        for name in ("optimistic", "pessimistic", "num_candidates"):
            ours, theirs = getattr(of_width.both, name), getattr(expected.both, name)
            assert torch.equal(ours, theirs), (width, name)


@pytest.mark.parametrize(("name", "norm"), SUMMED)
@pytest.mark.parametrize("filtered", [True, False], ids=["filtered", "raw"])
@pytest.mark.parametrize("reciprocal", [False, True], ids=["", "reciprocal"])
def test_ranks_are_those_of_the_crops(name, norm, filtered, reciprocal, random_graph, monkeypatch):
    monkeypatch.setattr(width_ranking, "CPU_BLOCK", 32)
    graph = random_graph(1, entities=30)
    model = model_of(graph, name, norm, reciprocal=reciprocal)
    for size in (1, 5, 100):
        found = ranks_widths(model, graph, "test", filtered=filtered, batch_size=size)
        assert_same(found, graph, model, filtered=filtered)


@pytest.mark.parametrize(("name", "norm"), [("transe", "l1"), ("simple", None), ("pairre", "l1"), ("complex", None)])
def test_ties_are_counted_as_ties(name, norm, random_graph):
    graph = random_graph(2, entities=40)
    model = whole_numbers(model_of(graph, name, norm))
    found = ranks_widths(model, graph, "test")
    assert_same(found, graph, model)
    narrow = found[2].both
    assert (narrow.pessimistic > narrow.optimistic).any()


def test_a_model_whose_entities_are_all_alike_ties_everywhere(random_graph):
    graph = random_graph(2, entities=40)
    for name, norm in SUMMED:
        model = model_of(graph, name, norm)
        with torch.no_grad():
            model.entity_rows.weight.fill_(0.3)
        for of_width in ranks_widths(model, graph, "test").values():
            assert of_width.both.optimistic.eq(1).all()
            assert torch.equal(of_width.both.pessimistic, of_width.both.num_candidates), (name, norm)


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_metrics_of_every_interaction(name, norm, random_graph):
    graph = random_graph(3)
    model = model_of(graph, name, norm)
    for width, metrics in rank_widths(model, graph, "test").items():
        assert metrics.mrr == pytest.approx(pmd.rank(model.crop(width), graph, "test").mrr, abs=1e-6)


def test_unit_entities_are_ranked_width_by_width(random_graph):
    graph = random_graph(3)
    model = model_of(graph, "pairre", unit_entities=True)
    assert not model.has_running_sums
    for width, metrics in rank_widths(model, graph, "test").items():
        assert metrics.mrr == pytest.approx(pmd.rank(model.crop(width), graph, "test").mrr)


def test_a_sample_and_one_side(random_graph):
    graph = random_graph(4)
    model = model_of(graph, "rotate")
    found = ranks_widths(model, graph, "test", targets=["tail"], max_triples=5, seed=3)
    assert_same(found, graph, model, targets=["tail"], max_triples=5, seed=3)


def test_candidates_of_an_inductive_graph(shared_data):
    graph = pmd.load_graph(shared_data / "wn18rr_v1_inductive")
    model = model_of(graph, "rotate", "l2")
    found = ranks_widths(model, graph, "test", max_triples=40)
    for width, of_width in found.items():
        expected = ranks(model.crop(width), graph, "test", max_triples=40)
        assert torch.equal(of_width.both.num_candidates, expected.both.num_candidates)
        assert (of_width.realistic == expected.realistic).float().mean() > 0.98  # sums in another order


def test_nan_and_other_graphs_are_refused(random_graph):
    graph = random_graph(4)
    model = model_of(graph, "rotate")
    with torch.no_grad():
        model.entities[0, 0, 5] = float("nan")
    with pytest.raises(PmdError, match="NaN"):
        ranks_widths(model, graph, "test")
    with pytest.raises(PmdError, match="knows 12 entities, graph 'random' has 20"):
        ranks_widths(model, random_graph(4, entities=20), "test")


def test_more_candidates_than_a_byte_counts(random_graph):
    graph = random_graph(2, entities=5000, train=50)
    model = model_of(graph, "transe", "l1")
    found = ranks_widths(model, graph, "test", batch_size=1)  # one row: blocks as long as they may be
    assert_same(found, graph, model)
    assert max(found[6].realistic) > 2040


@pytest.mark.parametrize("name", ["transe", "rotate"])
@pytest.mark.parametrize("dim", [20, 64])
def test_entities_that_meet_their_query_tie(name, dim, random_graph):
    """At distance 0 nothing but rounding could tell them apart."""
    graph = random_graph(6, entities=40)
    torch.manual_seed(0)
    model = KgeModel(name, graph.num_entities, graph.num_relations, dim, widths=(2, 7, dim), norm="l2")
    with torch.no_grad():
        model.entity_rows.weight[:] = model.entity_rows.weight[0]
        model.relation_rows.weight.zero_()
    for of_width in ranks_widths(model, graph, "test").values():
        assert (of_width.both.optimistic == 1).all()
        assert torch.equal(of_width.both.pessimistic, of_width.both.num_candidates)


@pytest.mark.parametrize(("name", "options"), [("transh", {"norm": "l2"}), ("pairre", {"unit_entities": True})])
def test_models_without_running_sums_are_ranked_width_by_width(name, options, random_graph):
    graph = random_graph(3, entities=25)
    model = model_of(graph, name, **options)
    assert not model.has_running_sums
    assert_same(ranks_widths(model, graph, "test"), graph, model)
