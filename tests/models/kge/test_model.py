"""Models of all widths: crops, arguments and copies agree, and every way to score equals one score at a time."""

import json

import pytest
import torch

import pmd
from pmd.core.errors import PmdError
from pmd.core.types import TARGETS
from pmd.models.kge.model import KgeModel
from pmd.settings.catalogue import INTERACTIONS

from ...evaluation.oracle import slow_ranks
from ...says import says

ENTITIES, RELATIONS, DIM, WIDTHS = 9, 3, 12, (4, 7, 12)
CLASSES = {name: row.load_class() for name, row in INTERACTIONS.items()}
CASES = [(name, norm) for name, kind in CLASSES.items() for norm in kind.norms or (None,)]
EVERY = pytest.mark.parametrize(("name", "norm"), CASES)
NAMES = pytest.mark.parametrize("name", CLASSES)
RECIPROCAL = pytest.mark.parametrize("reciprocal", [False, True], ids=["", "reciprocal"])
UNIT = pytest.mark.parametrize("unit", [False, True], ids=["", "unit"])


def build(name, norm=None, reciprocal=False, unit=False, dim=DIM, widths=WIDTHS, entities=ENTITIES):
    torch.manual_seed(0)
    options = {"norm": norm, "reciprocal": reciprocal, "unit_entities": unit}
    return KgeModel(name, entities, RELATIONS, dim, widths=widths, **options)


def draw(count, entities=ENTITIES, seed=1):
    generator = torch.Generator().manual_seed(seed)
    limits = (entities, RELATIONS, entities)
    return torch.stack([torch.randint(limit, (count,), generator=generator) for limit in limits], dim=1)


def slow_score(model, head, relation, tail, target="tail", width=DIM):
    """One triple, from the tables; asked for `target`, which matters with reciprocal relations alone."""
    if model.reciprocal and target == "head":
        head, relation, tail = tail, relation + RELATIONS, head
    h, t = (model.entities[e, :, :width].detach() for e in (head, tail))
    if model.unit_entities:
        h, t = h / h.square().sum().sqrt(), t / t.square().sum().sqrt()
    return float(model.interaction.score(h, model.relations[relation, :, :width].detach(), t))


def slow_scores(model, triples, target, candidates, width=DIM):
    """(b, k) of a row of candidates for each triple."""
    rows = []
    for (h, r, t), others in zip(triples.tolist(), candidates.tolist()):
        filled = [(e, r, t) if target == "head" else (h, r, e) for e in others]
        rows.append([slow_score(model, *triple, target, width) for triple in filled])
    return torch.tensor(rows)


def score_against(model, triples, target, entities, width=None):
    """(b, k) scores of entities (groups, k) in the place of `target`."""
    return model.score_comparisons([(triples, target, entities)], width)[0]


def close(found, expected):
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-5)


def unread(triples, target):
    """The entry at the target is not read: one that would be out of range."""
    triples = triples.clone()
    triples[:, 0 if target == "head" else 2] = -1
    return triples


@EVERY
@RECIPROCAL
@UNIT
def test_a_width_a_crop_and_a_copy_are_the_same_model(name, norm, reciprocal, unit):
    model, triples, candidates = build(name, norm, reciprocal, unit), draw(10), draw(10)[:, [0, 2]]
    columns = model.score_widths(triples)
    assert columns.shape == (10, 3)
    for width in (1, *WIDTHS):
        crop = model.crop(width)
        copy = build(name, norm, reciprocal, unit, dim=width, widths=None)
        copy.entities.data.copy_(model.entities[..., :width])
        copy.relations.data.copy_(model.relations[..., :width])
        assert crop.widths == (*(w for w in WIDTHS if w < width), width) and crop.dim == width
        slow = torch.tensor([slow_score(model, *triple, width=width) for triple in triples.tolist()])
        for found in (model.score(triples, width=width), crop.score(triples), copy.score(triples)):
            close(found, slow)
        if width in WIDTHS:
            close(columns[:, WIDTHS.index(width)], slow)
            close(crop.score_widths(triples)[:, -1], slow)
        for target in TARGETS:
            everyone = model.score_all(triples, target, width=width).detach()
            some = score_against(model, triples, target, candidates, width=width).detach()
            for other in (crop, copy):
                close(other.score_all(triples, target), everyone)
                close(score_against(other, triples, target, candidates), some)


@EVERY
@RECIPROCAL
@UNIT
def test_all_entities_are_scored_as_one_by_one(name, norm, reciprocal, unit):
    model, triples = build(name, norm, reciprocal, unit), draw(11)
    everyone = torch.arange(ENTITIES).expand(len(triples), -1)
    for target in TARGETS:
        for width in (7, DIM):
            found = model.score_all(unread(triples, target), target, width)
            close(found, slow_scores(model, triples, target, everyone, width))
    assert found.dtype == torch.float32 and model.double().score_all(triples, target).dtype == torch.float32


@EVERY
@RECIPROCAL
def test_candidates_of_groups_are_those_of_their_rows(name, norm, reciprocal):
    model = build(name, norm, reciprocal, unit=name == "pairre")
    for count, groups in ((8, 8), (8, 1), (8, 2), (7, 3), (5, 4), (1, 1)):
        triples, candidates = draw(count), draw(groups * 5, seed=3)[:, 0].unflatten(0, (groups, 5))
        size = -(-count // groups)
        own = torch.stack([candidates[i // size] for i in range(count)])
        for target in TARGETS:
            found = score_against(model, unread(triples, target), target, candidates)
            close(found, slow_scores(model, triples, target, own))
            close(found, model.score_all(triples, target).detach().gather(1, own))


@EVERY
@RECIPROCAL
def test_several_comparisons_at_once_are_those_of_each(name, norm, reciprocal):
    model = build(name, norm, reciprocal)
    comparisons = [
        (draw(8), "head", draw(8)[:, [0, 2]]),
        (draw(5, seed=2), "tail", draw(2, seed=3)[:, [0, 2]]),
        (draw(5, seed=2), "head", draw(5, seed=4)[:, [0, 2, 0]]),
    ]
    for width in (7, DIM):
        found = model.score_comparisons(comparisons, width)
        assert len(found) == 3
        for scores, (triples, target, entities) in zip(found, comparisons):
            close(scores, score_against(model, triples, target, entities, width).detach())


@EVERY
def test_head_and_tail_queries_speak_of_the_same_triple(name, norm):
    model, triples = build(name, norm), draw(20)
    score = model.score(triples).detach()
    for target, place in (("head", 0), ("tail", 2)):
        close(model.score_all(triples, target).gather(1, triples[:, place, None]).squeeze(1), score)


@NAMES
def test_a_reciprocal_relation_is_a_second_relation(name):
    model, triples = build(name, reciprocal=True), draw(20)
    assert len(model.relations) == 2 * RELATIONS
    plain = KgeModel(name, ENTITIES, 2 * RELATIONS, DIM)
    plain.load_state_dict(model.state_dict())
    turned = torch.stack([triples[:, 2], triples[:, 1] + RELATIONS, triples[:, 0]], dim=1)
    close(model.score_all(triples, "head"), plain.score_all(turned, "tail").detach())
    close(model.score_all(triples, "tail"), plain.score_all(triples, "tail").detach())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_no_triples_have_no_scores(dtype):
    for name in ("complex", "transh"):
        model, none = build(name), torch.empty(0, 3, dtype=dtype)
        assert model.score_all(none, "tail").shape == (0, ENTITIES)
        assert model.score(none).shape == (0,) and model.score_widths(none).shape == (0, 3)


@EVERY
@RECIPROCAL
@UNIT
def test_gradients_of_all_ways_to_score_are_those_of_one_by_one(name, norm, reciprocal, unit):
    """Weighed at random, so that no two scores can be exchanged."""
    model, triples = build(name, norm, reciprocal, unit).double(), draw(6)
    everyone = torch.arange(ENTITIES).expand(6, -1)
    weight = torch.randn(6, ENTITIES, dtype=torch.float64)
    for target in TARGETS:
        h, r, t = (column[:, None].expand(-1, ENTITIES) for column in triples.unbind(1))
        filled = (everyone, r, t) if target == "head" else (h, r, everyone)
        if reciprocal and target == "head":
            filled = (t, r + RELATIONS, everyone)
        table = model.entities
        if unit:
            table = table / table.square().sum((1, 2), keepdim=True).sqrt()
        slow = model.interaction.score(table[filled[0]], model.relations[filled[1]], table[filled[2]])
        expected = torch.autograd.grad((slow * weight).sum(), [*model.parameters()])
        shared = everyone[:2]  # by two groups of three
        for found in (
            model.score_all(triples, target),
            score_against(model, triples, target, everyone),
            score_against(model, triples, target, shared),
        ):
            gradients = torch.autograd.grad((found * weight).sum(), [*model.parameters()])
            for one, other in zip(gradients, expected):
                assert other.abs().max() > 1e-3
                # score_all answers in fp32, and its gradient comes back in it.
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@NAMES
@RECIPROCAL
def test_sparse_gradients_are_the_dense_ones(name, reciprocal):
    model, triples, candidates = build(name, reciprocal=reciprocal), draw(8), draw(8, seed=5)[:, [0, 2]]
    found = []
    for sparse in (False, True):
        assert model.sparse_gradients(sparse) is model
        model.zero_grad(set_to_none=True)
        scores = [score_against(model, triples, target, candidates).square().sum() for target in TARGETS]
        (sum(scores) + model.score_widths(triples).exp().sum()).backward()
        found.append([p.grad for p in model.parameters()])
    for dense, sparse in zip(*found):
        assert sparse.is_sparse and not dense.is_sparse and dense.abs().max() > 1e-3
        torch.testing.assert_close(sparse.to_dense(), dense, rtol=1e-5, atol=1e-6)


@NAMES
@RECIPROCAL
@UNIT
def test_a_saved_model_comes_back(name, reciprocal, unit, tmp_path, capfd):
    norm = "squared" if CLASSES[name].norms else None
    model, triples = build(name, norm, reciprocal, unit), draw(10)
    model.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert (settings["interaction"], settings["dim"], settings["norm"]) == (name, DIM, norm)
    back = KgeModel.from_pretrained(str(tmp_path))
    assert (back.widths, back.reciprocal, back.unit_entities) == (WIDTHS, reciprocal, unit)
    assert torch.equal(back.score_widths(triples), model.score_widths(triples))
    for target in TARGETS:
        assert torch.equal(back.score_all(triples, target), model.score_all(triples, target))
    assert torch.equal(back.crop(4).score(triples), model.crop(4).score(triples))
    assert capfd.readouterr().out == ""


@NAMES
def test_files_shrink_with_the_width(name, tmp_path):
    model = build(name, dim=64, widths=(8, 32, 64), entities=500)
    sizes = {}
    for width in model.widths:
        model.crop(width).save_pretrained(tmp_path / str(width))
        sizes[width] = (tmp_path / str(width) / "model.safetensors").stat().st_size
    numbers = 500 * model.interaction.entity_parts + RELATIONS * model.interaction.relation_parts
    for width, size in sizes.items():
        assert 0 < size - 4 * numbers * width < 400  # what is left is the header


@pytest.mark.parametrize(
    ("name", "count"), [("transe", 2_621_056), ("transh", 2_621_760), ("complex", 5_242_112), ("rotate", 5_241_408)]
)
def test_parameters_on_wn18rr_are_those_of_distile(name, count):
    with torch.device("meta"):  # Table 5 of the paper: 64 numbers a vector
        model = KgeModel(name, 40_943, 11, 64)
    assert sum(p.numel() for p in model.parameters()) == count


@NAMES
def test_embeddings_start_with_a_length_of_about_one(name):
    model = build(name, dim=256, widths=None, entities=200)
    assert model.entities.flatten(1).norm(dim=1).mean().item() == pytest.approx(1, abs=0.05)
    low, high = model.interaction.relation_start or (-model.entities.max().item(), model.entities.max().item())
    assert model.relations.min().item() == pytest.approx(low, abs=0.05)
    assert model.relations.max().item() == pytest.approx(high, abs=0.05)
    wide = KgeModel(name, 200, 3, 256, init=2.0).entities.abs().max().item()
    assert wide == pytest.approx(2.0, abs=0.01)


@NAMES
@RECIPROCAL
def test_ranks_are_those_of_a_double_loop(name, reciprocal, random_graph):
    graph = random_graph(1)
    model = build(name, reciprocal=reciprocal, entities=graph.num_entities)
    metrics, places = pmd.rank(model, graph), []
    for target in TARGETS:

        def score(known, relation, candidate, target=target):
            triple = (candidate, relation, known) if target == "head" else (known, relation, candidate)
            return slow_score(model, *triple, target)

        found = slow_ranks(score, graph, "test", target, True, [*range(graph.num_entities)])
        places += [(low + high) / 2 for low, high, _ in found]
    assert len(places) == 24
    assert metrics.mrr == pytest.approx(sum(1 / place for place in places) / 24, abs=1e-9)
    assert metrics.mr == pytest.approx(sum(places) / 24, abs=1e-9)
    assert metrics.hits_at_3 == pytest.approx(sum(place <= 3 for place in places) / 24, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interaction": "distmult"}, "'distmult'…transe, transh, complex"),
        ({"interaction": "complex", "norm": "l1"}, "norm 'l1'…ComplEx"),
        ({"norm": "l3"}, "norm 'l3'…TransE…l1, l2, squared"),
        ({"widths": [4, 4, 8]}, "widths: [4, 4, 8]"),
        ({"widths": [6, 4, 8]}, "widths: [6, 4, 8]"),
        ({"widths": [0, 8]}, "widths: [0, 8]"),
        ({"widths": [2, 4]}, "widths…after 4…8…dim…4"),
        ({"widths": [8, 16]}, "widths: 16…dimension 8…dim"),
        ({"widths": [4]}, "widths: [4]…single"),
        ({"dim": 0}, "dim…1…0"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(PmdError) as caught:
        KgeModel(**{"interaction": "transe", "num_entities": 5, "num_relations": 2, "dim": 8, **options})
    assert says(str(caught.value), message)


@pytest.mark.parametrize("width", [0, -1, 13])
def test_a_width_that_there_is_not_is_refused(width):
    model, triples = build("transe"), draw(3)
    for call in (
        lambda: model.crop(width),
        lambda: model.score(triples, width=width),
        lambda: model.score_all(triples, "tail", width=width),
        lambda: score_against(model, triples, "tail", triples[:, :1], width=width),
    ):
        with pytest.raises(PmdError, match=rf"width {width}.*outside 1.*12"):
            call()
