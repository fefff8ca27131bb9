"""All widths ranked in one pass: the ranks of each cropped model, with ties, filters and few candidates."""

import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.evaluation import width_ranking
from pmd.evaluation.ranking import ranks
from pmd.evaluation.rerank import NeighbourRerank
from pmd.evaluation.width_ranking import rank_widths, ranks_widths
from pmd.models.kge import width_scores
from pmd.models.kge.model import KgeModel
from pmd.settings.catalogue import INTERACTIONS

WIDTHS = (2, 3, 6)
CLASSES = {name: row.load_class() for name, row in INTERACTIONS.items()}
CASES = [(name, norm) for name, kind in CLASSES.items() for norm in kind.norms or (None,)]
SUMMED = [(name, norm) for name, norm in CASES if CLASSES[name].has_running_sums]


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
    with pytest.raises(PmdError, match=r"12.*'random'.*20"):
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


@pytest.mark.parametrize(("name", "norm"), [case for case in SUMMED if case[1] != "l1"])
@pytest.mark.parametrize("many", [1, 10**9], ids=["pairs", "blocks"])
@pytest.mark.parametrize("values", ["drawn", "whole"])
def test_what_is_too_near_is_compared_again(name, norm, many, values, random_graph, monkeypatch):
    """Pair by pair, or block by block in double precision: the ranks are the same."""
    monkeypatch.setattr(width_ranking, "NEAR_SHARE", many)
    graph = random_graph(5, entities=70)
    model = model_of(graph, name, norm)
    if values == "whole":
        whole_numbers(model)
        if name == "rotate":
            model.relation_rows.weight.data.mul_(0)  # a turn by no angle keeps them whole
    assert_same(ranks_widths(model, graph, "test"), graph, model)


@pytest.mark.parametrize(("name", "norm"), [("simple", None), ("complex", None), ("rotate", "l2"), ("pairre", "l2")])
@pytest.mark.parametrize("widths", [(8, 16, 24, 64), (7, 31, 32, 64)], ids=["even", "uneven"])
@pytest.mark.parametrize("large", [1.0, 1e-3, 1e4], ids=str)
def test_no_difference_is_off_by_more_than_its_slack(name, norm, widths, large, random_graph, monkeypatch):
    """Held against sums in double precision, with some embeddings much longer than others."""
    graph = random_graph(7, entities=200)
    torch.manual_seed(0)
    model = KgeModel(name, 200, graph.num_relations, 64, widths=widths, norm=norm)
    with torch.no_grad():
        model.entity_rows.weight.mul_(large * torch.logspace(-2, 2, 200)[torch.randperm(200), None])
        triples = graph.test[graph.test[:, 1].argsort()]
        queries, answers = model.width_scores(triples, "tail"), model.entity_embeddings(triples[:, 2])
        everyone = torch.arange(200)
        rows, columns = torch.arange(len(triples)).repeat_interleave(200), everyone.repeat(len(triples))
        sums = queries.exact_sums_of_pairs(rows, model.entity_embeddings(columns), 64)[
            :, [width - 1 for width in widths]
        ]
        exact = queries.sign * sums.t().unflatten(1, (-1, 200))  # (n, b, c)
        for dtype, digits in ((torch.float, 1e-3), (torch.double, 1e-5)):
            monkeypatch.setattr(width_scores, "products_are_coarse", lambda dtype=dtype: dtype == torch.double)
            margins = queries.margins_over(answers, torch.arange(len(triples)))
            assert margins.dtype == dtype and not margins.exact
            by_width = margins.by_width(torch.zeros(len(triples), 200, dtype=dtype), model.entity_embeddings(everyone))
            for i, (margin, slack) in enumerate(by_width):
                true = (exact[i] - margins.true_sums[i][:, None]) * margins.scale[:, None]
                error = (margin.double() - true).abs().max()
                assert error <= slack < digits * true.abs().max(), (i, error, slack)


def set_for_all(precision):
    torch.set_float32_matmul_precision({"ieee": "highest", "none": "highest", "tf32": "high"}[precision])


def set_for_one_backend(precision):
    torch.backends.cuda.matmul.fp32_precision = precision


def set_for_all_backends(precision):
    torch.backends.cuda.matmul.fp32_precision = "none"  # what an earlier test set there would count more
    torch.backends.fp32_precision = precision


@pytest.mark.parametrize("set_precision", [set_for_all, set_for_one_backend, set_for_all_backends])
def test_sums_in_double_precision_where_products_are_coarse(set_precision, random_graph):
    if set_precision is not set_for_all and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this PyTorch knows one precision for all backends")
    graph = random_graph(1, entities=30)
    model = model_of(graph, "complex")
    try:
        for precision, dtype in (("ieee", torch.float), ("tf32", torch.double)):
            set_precision(precision)
            with torch.no_grad():
                queries = model.width_scores(graph.test, "tail")
                margins = queries.margins_over(model.entity_embeddings(graph.test[:, 2]), torch.arange(len(graph.test)))
            assert margins.dtype == dtype
            found = ranks_widths(model, graph, "test")
    finally:
        set_precision("none")
    assert torch.get_float32_matmul_precision() == "highest"
    assert_same(found, graph, model)


def test_blocks_on_other_devices_are_large():
    class Other:
        device = torch.device("cuda")

        def entity_embeddings(self, entities):
            return torch.zeros(len(entities), 2, 640, device="meta")

    model = Other()
    model.device = torch.device("meta")
    assert width_ranking.block_size(model, 256) == 2**26 // 1280 // 8 * 8 > 40_943
    assert width_ranking.block_size(model, 2**20) == 64
    model.device = torch.device("cpu")
    assert width_ranking.block_size(model, 1) == 2040 and width_ranking.block_size(model, 2**30) == 8


@pytest.mark.parametrize("name", ["rotate", "transh"])
def test_a_bar_if_asked_for(name, random_graph, capsys):
    graph = random_graph(4)
    model = model_of(graph, name)
    ranks_widths(model, graph, "test")
    assert capsys.readouterr().err == ""
    ranks_widths(model, graph, "test", progress=True)
    assert f"/{2 * len(graph.test)}" in capsys.readouterr().err


def test_hops_are_not_added_to_running_sums():
    graph = pmd.load_graph("world")
    model = KgeModel("transe", graph.num_entities, graph.num_relations, dim=4, widths=(2, 4))
    with pytest.raises(PmdError, match="rerank"):
        ranks_widths(model, graph, rerank=NeighbourRerank(graph.train, graph.num_entities, 1, 0.1))
