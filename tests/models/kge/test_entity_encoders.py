"""NodePiece against PyKEEN's, EARL against a plain version of the paper, paths against a search, and a model of either."""

import copy
from collections import Counter

import pytest
import torch
from torch.nn.functional import cosine_similarity

import pmd
from pmd.core.errors import PmdError
from pmd.models.families import num_parameters
from pmd.models.kge.entities import anchors as anchor_module
from pmd.models.kge.entities.anchors import choose, degrees, nearest_anchors, page_rank
from pmd.models.kge.entities.nodepiece import FAR, MISSING, some_relations

ENTITIES, RELATIONS = 30, 3
NODEPIECE = {
    "name": "nodepiece",
    "anchors": 6,
    "selection": "degree",
    "nearest": 3,
    "relations": 2,
    "distances": True,
    "aggregation": "mlp",
}
EARL = {"name": "earl", "reserved": 5, "selection": "random", "nearest": 3, "layers": 2, "triples": 60}
BOTH = pytest.mark.parametrize("options", [NODEPIECE, EARL], ids=["nodepiece", "earl"])


def graph_of(seed=0, count=60):
    """Triples of a graph in two parts, of whose entities the last has none."""
    generator = torch.Generator().manual_seed(seed)
    entities = torch.randint(0, 20, (count, 2), generator=generator)
    entities[count * 3 // 4 :] = torch.randint(20, ENTITIES - 1, (count - count * 3 // 4, 2), generator=generator)
    relations = torch.randint(0, RELATIONS, (count, 1), generator=generator)
    return torch.cat([entities[:, :1], relations, entities[:, 1:]], dim=1)


def model_of(options, triples=None, interaction="rotate", **more):
    torch.manual_seed(0)
    model = pmd.KgeModel(interaction, ENTITIES, RELATIONS, 4, entity_encoder=options, **more)
    model.entity_encoder.read_graph(graph_of() if triples is None else triples)
    return model


def searched(triples, source):
    """The distances from an entity, by a search in breadth."""
    distances, front = {source: 0}, [source]
    while front:
        entity = front.pop(0)
        for head, _, tail in triples.tolist():
            for one, other in ((head, tail), (tail, head)):
                if one == entity and other not in distances:
                    distances[other] = distances[entity] + 1
                    front.append(other)
    return distances


@pytest.mark.parametrize("searched_at_a_time", [2, 256])
def test_the_nearest_anchors_are_those_of_a_search(searched_at_a_time, monkeypatch):
    monkeypatch.setattr(anchor_module, "SEARCHED", searched_at_a_time)
    triples, anchors = graph_of(), torch.tensor([3, 25, 7, 11, 0])
    nearest, distances = nearest_anchors(anchors, triples, ENTITIES, 4)
    paths = [searched(triples, anchor) for anchor in anchors.tolist()]
    for entity in range(ENTITIES):
        order = sorted((path[entity], position) for position, path in enumerate(paths) if entity in path)[:4]
        missing = [(-1, len(anchors))] * (4 - len(order))
        assert [*zip(distances[entity].tolist(), nearest[entity].tolist())] == order + missing
    assert (distances == -1).any() and (distances > 1).any()


def test_the_nearest_anchors_are_as_near_as_pykeens():
    search = pytest.importorskip("pykeen.nn.node_piece.anchor_search")
    triples = graph_of()[:45]  # the first part, all of it connected
    triples = triples[(triples[:, [0, 2]] < 20).all(1)]
    anchors, k = choose("degree", 5, triples, 20), 3
    tokens = search.CSGraphAnchorSearcher()(triples[:, [0, 2]].T.numpy(), anchors.numpy(), k)
    _, distances = nearest_anchors(anchors, triples, 20, k)
    paths = [searched(triples, anchor) for anchor in anchors.tolist()]
    theirs = [[paths[token][entity] for token in row] for entity, row in enumerate(tokens.tolist())]
    assert distances.tolist() == theirs


def test_anchors_are_chosen_as_pykeen_chooses_them():
    selection = pytest.importorskip("pykeen.nn.node_piece.anchor_selection")
    triples = graph_of()
    edges = triples[:, [0, 2]].T.numpy()
    theirs = torch.from_numpy(selection.DegreeAnchorSelection(num_anchors=8)(edges).copy())
    ours = choose("degree", 8, triples, ENTITIES)
    counts = Counter(triples[:, [0, 2]].flatten().tolist())
    assert degrees(triples, ENTITIES).tolist() == [counts[entity] for entity in range(ENTITIES)]
    assert degrees(triples, ENTITIES)[ours].tolist() == degrees(triples, ENTITIES)[theirs].tolist()
    one_part = triples[(triples[:, [0, 2]] < 20).all(1)]  # to each other, and none is without a neighbour
    links = anchor_module.neighbours(one_part, 20)
    assert links.max() == 1 and links.sum(1).min() > 0
    torch.testing.assert_close(page_rank(one_part, 20).float(), slow_page_rank(links.toarray()), rtol=1e-4, atol=1e-6)


def slow_page_rank(links):
    """The stationary distribution of the walk, by its linear equations."""
    links = torch.from_numpy(links).double()
    walk = links / links.sum(1, keepdim=True)
    n = len(walk)
    return torch.linalg.solve(torch.eye(n).double() - 0.85 * walk.T, torch.full((n,), 0.15 / n).double()).float()


def test_mixed_anchors_are_of_three_kinds():
    triples = graph_of()
    torch.manual_seed(0)
    mixed = choose("mixed", 10, triples, ENTITIES)
    assert len({*mixed.tolist()}) == 10
    assert mixed[:4].tolist() == choose("degree", 4, triples, ENTITIES).tolist()
    by_rank = [e for e in choose("pagerank", ENTITIES, triples, ENTITIES).tolist() if e not in mixed[:4].tolist()]
    assert mixed[4:8].tolist() == by_rank[:4]


def test_the_relations_of_an_entity_are_drawn_among_its_own():
    triples = graph_of()
    torch.manual_seed(1)
    chosen = some_relations(triples, ENTITIES, RELATIONS, 3)
    for entity, row in enumerate(chosen.tolist()):
        own = {r for h, r, _ in triples.tolist() if h == entity}
        own |= {r + RELATIONS for _, r, t in triples.tolist() if t == entity}
        known = [r for r in row if r < 2 * RELATIONS]
        assert len({*known}) == len(known) == min(3, len(own)) and {*known} <= own
    assert not torch.equal(chosen, some_relations(triples, ENTITIES, RELATIONS, 3))


@pytest.mark.parametrize("aggregation", ["mlp", "mean"])
def test_nodepiece_is_pykeens(aggregation):
    """Its own tokens, and its own module with our numbers in it."""
    node_piece, triples_module = pytest.importorskip("pykeen.nn.node_piece"), pytest.importorskip("pykeen.triples")
    triples = graph_of()
    factory = triples_module.CoreTriplesFactory(triples, num_entities=ENTITIES, num_relations=RELATIONS)
    anchors = node_piece.AnchorTokenizer(
        selection="degree",
        selection_kwargs={"num_anchors": 6},
        searcher="scipysparse",
        searcher_kwargs={"max_iter": 20},
    )
    theirs = node_piece.NodePieceRepresentation(
        triples_factory=factory,
        tokenizers=[anchors, node_piece.RelationTokenizer()],
        token_representations_kwargs=[{"shape": 8}, {"shape": 8}],
        num_tokens=[3, 2],
        aggregation="mlp" if aggregation == "mlp" else torch.mean,
    ).eval()
    model = model_of({**NODEPIECE, "distances": False, "aggregation": aggregation}, triples)
    ours = model.entity_encoder
    for tokens, table, (assignment, padding) in zip(
        theirs.base,
        (ours.anchor_rows, ours.relation_rows),
        ((ours.nearest, len(ours.anchors)), (ours.context, 2 * RELATIONS)),
    ):
        # Which of equally near anchors, and which relations, are tokens is drawn: ours are given to it.
        assert tokens.assignment.shape == assignment.shape and tokens.vocabulary_size == padding + 1 == len(
            table.weight
        )
        tokens.assignment.copy_(assignment)
        tokens.vocabulary._embeddings.weight.data.copy_(table.weight.data)
    if aggregation == "mlp":
        first, _, _, second = theirs.combination.aggregation
        for layer, mine in ((first, ours.mlp[0]), (second, ours.mlp[2])):
            layer.load_state_dict(mine.state_dict())
    torch.testing.assert_close(model.entities.flatten(1), theirs(), rtol=1e-5, atol=1e-6)
    assert model.entities.std() > 0.05


def test_an_anchors_distance_is_added():
    model = model_of({**NODEPIECE, "aggregation": "mean"})
    encoder, triples = model.entity_encoder, graph_of()
    paths = [searched(triples, anchor) for anchor in encoder.anchors.tolist()]
    for entity in (0, int(encoder.anchors[2]), 25, ENTITIES - 1):
        order = sorted((path[entity], position) for position, path in enumerate(paths) if entity in path)[:3]
        tokens = [encoder.anchor_rows.weight[a] + encoder.distance_rows.weight[min(d, FAR)] for d, a in order]
        tokens += [encoder.anchor_rows.weight[-1] + encoder.distance_rows.weight[MISSING]] * (3 - len(order))
        tokens += [encoder.relation_rows.weight[r] for r in encoder.context[entity]]
        torch.testing.assert_close(model.entities[entity].flatten(), torch.stack(tokens).mean(0))


def plain_earl(encoder, relation_rows, triples):
    """EARL entity by entity, triple by triple (Chen et al., AAAI 2023, section 4)."""
    triples = triples.tolist()
    counts = torch.zeros(ENTITIES, 2 * RELATIONS)
    for h, r, t in triples:
        counts[h, r] += 1
        counts[t, RELATIONS + r] += 1
    reserved = encoder.reserved.tolist()
    h0 = []
    for entity in range(ENTITIES):
        if entity in reserved:
            h0.append(encoder.reserved_rows.weight[reserved.index(entity)])
            continue
        likeness = [cosine_similarity(counts[entity], counts[other], dim=0).item() for other in reserved]
        nearest = encoder.nearest[entity].tolist()  # of equally similar ones, any
        best = sorted(likeness, reverse=True)[: len(nearest)]
        assert len({*nearest}) == len(nearest) and [likeness[i] for i in nearest] == pytest.approx(best, abs=1e-6)
        weights = torch.softmax(torch.tensor([likeness[i] for i in nearest]) / 0.2, 0)
        similar = sum(w * encoder.reserved_rows.weight[i] for w, i in zip(weights, nearest))
        ends = [encoder.end_rows.weight[r] for h, r, _ in triples if h == entity]
        ends += [encoder.end_rows.weight[RELATIONS + r] for _, r, t in triples if t == entity]
        connected = encoder.of_ends(torch.stack(ends).mean(0) if ends else torch.zeros_like(similar))
        h0.append(encoder.of_both(torch.cat([similar, connected])))
    hidden, relations = torch.stack(h0), relation_rows
    for number, layer in enumerate(encoder.layers):
        rows = []
        for entity in range(ENTITIES):
            messages = [layer.incoming(torch.cat([relations[r], hidden[h]])) for h, r, t in triples if t == entity]
            messages += [layer.outgoing(torch.cat([relations[r], hidden[t]])) for h, r, t in triples if h == entity]
            around = sum(messages) / len(messages) if messages else 0
            rows.append(layer.of_itself(hidden[entity]) + around)
        hidden, relations = torch.stack(rows), layer.of_relations(relations)
        if number < len(encoder.layers) - 1:
            hidden, relations = hidden.relu(), relations.relu()
    return hidden, relations


@pytest.mark.parametrize("layers", [1, 3])
def test_earl_is_the_papers(layers):
    triples = graph_of()
    triples[0] = torch.tensor([4, 1, 4])  # to itself
    model = model_of({**EARL, "layers": layers}, triples)
    entities, relations = plain_earl(model.entity_encoder, model.relation_rows.weight, triples)
    torch.testing.assert_close(model.entities.flatten(1), entities, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.relations.flatten(1), relations)
    assert entities.std() > 0.05 and {*model.entity_encoder.reserved.tolist()} != {*range(5)}


def test_reciprocal_relations_are_no_part_of_the_graph_network():
    model = model_of(EARL, reciprocal=True)
    entities, _ = plain_earl(model.entity_encoder, model.relation_rows.weight[:RELATIONS], graph_of())
    torch.testing.assert_close(model.entities.flatten(1), entities, rtol=1e-4, atol=1e-5)
    assert model.relations.shape == (2 * RELATIONS, 1, 4)


@BOTH
@pytest.mark.parametrize("interaction", ["transe", "transh", "complex", "pairre"])
def test_scores_are_those_of_a_table_with_the_same_vectors(options, interaction):
    model = model_of(options, interaction=interaction)
    table = pmd.KgeModel(interaction, ENTITIES, RELATIONS, 4)
    with torch.no_grad():
        table.entities.copy_(model.entities)
        table.relations.copy_(model.relations)
    triples = graph_of(1, 7)
    candidates = torch.randint(0, ENTITIES, (7, 5))
    torch.testing.assert_close(model.score(triples), table.score(triples))
    for target in ("head", "tail"):
        torch.testing.assert_close(model.score_all(triples, target), table.score_all(triples, target))
        comparisons = [(triples, target, candidates)]
        torch.testing.assert_close(model.score_comparisons(comparisons), table.score_comparisons(comparisons))
    everyone = torch.arange(ENTITIES)
    torch.testing.assert_close(model.entity_vectors(everyone), table.entity_vectors(everyone))


@BOTH
def test_vectors_are_computed_once_and_again_when_a_parameter_moved(options, monkeypatch):
    model = model_of(options)
    calls, encode = [], type(model.entity_encoder).encode
    monkeypatch.setattr(type(model.entity_encoder), "encode", lambda *given: calls.append(1) or encode(*given))
    triples = graph_of(1, 9)
    with torch.no_grad():
        before = model.score_all(triples, "tail")
        model.score_all(triples, "head")
        model.entity_embeddings(torch.arange(4))
    assert len(calls) == 1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    model.score_all(triples, "tail").sum().backward()
    assert len(calls) == 2
    optimizer.step()
    with torch.no_grad():
        after = model.score_all(triples, "tail")
        again = copy.deepcopy(model).score_all(triples, "tail")
    assert len(calls) == 4 and (before - after).abs().max() > 1e-3
    assert torch.equal(after, again)


@BOTH
def test_gradients_are_those_of_vectors_that_are_computed_each_time(options, monkeypatch):
    """Within a step, over two steps without an optimizer between them, and for few entities of many."""
    model, triples = model_of(options), graph_of(1, 9)
    few = torch.tensor([[1, 0, 2], [2, 1, 25]])

    def loss(model):
        return model.score_all(triples, "tail").square().sum() + model.score(few).square().sum()

    loss(model).backward()
    loss(model).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    plain = copy.deepcopy(model)
    plain.zero_grad()
    encoder = type(plain.entity_encoder)
    monkeypatch.setattr(encoder, "entities", encoder.encode)
    (2 * loss(plain)).backward()
    for name, p in plain.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-4, atol=1e-5)
    assert sum(grad.abs().sum() > 0 for grad in found.values()) == len(found)


@BOTH
def test_a_model_is_saved_and_loaded(options, tmp_path):
    model = model_of(options)
    model.save_pretrained(tmp_path)
    loaded = pmd.KgeModel.from_pretrained(str(tmp_path))
    assert loaded.encoder == options["name"] and num_parameters(loaded) == num_parameters(model)
    with torch.no_grad():
        assert torch.equal(loaded.entities, model.entities)
        assert torch.equal(loaded.score_all(graph_of(1, 7), "head"), model.score_all(graph_of(1, 7), "head"))


@BOTH
def test_what_needs_a_table_is_refused(options):
    model = model_of(options)
    for wrong in (
        lambda: model.crop(2),
        lambda: model.select(torch.tensor([1, 0])),
        lambda: model.score(graph_of(1, 3), width=2),
        lambda: model.entity_vectors(torch.arange(3), width=2),
        lambda: pmd.KgeModel("rotate", ENTITIES, RELATIONS, 4, widths=[2, 4], entity_encoder=options),
    ):
        with pytest.raises(PmdError, match="no narrower ones; train one of that width"):
            wrong()
    with pytest.raises(PmdError, match="use adam"):
        model.sparse_gradients()
    assert model.sparse_gradients(False) is model
    with pytest.raises(PmdError, match=r"entity_encoder: 'nodepeice'.*nodepiece"):
        pmd.KgeModel("rotate", ENTITIES, RELATIONS, 4, entity_encoder={**options, "name": "nodepeice"})


def test_the_parameters_of_the_papers_sizes():
    """NodePiece of 100 dimensions on FB15k-237: 3.2 M (Zhu et al., ACL 2025, Table 4), and no longer counted with entities."""
    options = {**NODEPIECE, "anchors": 1000, "nearest": 20, "relations": 15, "distances": False}
    counts = [num_parameters(pmd.KgeModel("rotate", n, 237, 100, entity_encoder=options)) for n in (14_541, 2_000)]
    assert counts[0] == counts[1] == pytest.approx(3.2e6, rel=0.02)
