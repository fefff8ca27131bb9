"""Batches of triples: which negatives are drawn and which are marked, and every query with all its answers."""

import pytest
import torch
from scipy.stats import chi2
from torch.utils.data import DataLoader

from pmd.core.types import TARGETS
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.negatives import KgeBatch, KvsAll, OneVsAll, SampledNegatives, Side

TARGET = pytest.mark.parametrize("target", TARGETS)
PLACE = {"head": 0, "tail": 2}


def filled(triple, target, entity):
    h, r, t = triple
    return (entity, r, t) if target == "head" else (h, r, entity)


def improbable(counts):
    """Whether even draws would be as uneven as these once in a million times."""
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    return statistic > chi2.isf(1e-6, len(counts) - 1)


def test_half_of_the_triples_ask_for_heads_and_half_for_tails(random_graph):
    graph = random_graph()
    sampler = SampledNegatives(graph.train, graph.num_entities, 3)
    assert len(sampler) == len(graph.train) == 60
    for count in (2, 7, 60):
        positions = torch.randperm(60)[:count].tolist()
        batch = sampler(positions)
        assert [side.target for side in batch.sides] == ["head", "tail"]
        assert [len(side.triples) for side in batch.sides] == [count // 2, count - count // 2]
        assert batch.triples.tolist() == graph.train[positions].tolist()
        for side in batch.sides:
            assert side.negatives.shape == (len(side.triples), 3) and side.false is None
            assert side.answers.tolist() == side.triples[:, PLACE[side.target]].tolist()


@TARGET
def test_own_negatives_are_all_but_the_answer_and_even(target):
    torch.manual_seed(0)
    triples = torch.tensor([[0, 0, 4], [4, 1, 0], [2, 0, 2]]).repeat(400, 1)
    side = SampledNegatives(triples, 5, 6).side(triples, target)
    counts = {answer: [0] * 5 for answer in (0, 2, 4)}
    for answer, row in zip(side.answers.tolist(), side.negatives.tolist()):
        for entity in row:
            counts[answer][entity] += 1
    for answer, found in counts.items():
        assert found.pop(answer) == 0
        assert sum(found) == 2400 and not improbable(found)
    assert improbable([500, 500, 700, 700])  # the bound would see a slope


@TARGET
def test_shared_negatives_are_even_over_all(target):
    torch.manual_seed(1)
    triples = torch.zeros(4000, 3, dtype=torch.long)
    side = SampledNegatives(triples, 5, 3, shared=4).side(triples, target)
    assert side.negatives.shape == (1000, 3)
    counts = torch.bincount(side.negatives.flatten(), minlength=5).tolist()
    assert len(counts) == 5 and not improbable(counts)


@pytest.mark.parametrize("shared", [1, 3])
@TARGET
def test_negatives_come_from_the_candidates(shared, target):
    torch.manual_seed(2)
    candidates = torch.tensor([1, 4, 6, 9])
    triples = candidates[torch.randint(4, (1200, 3))]
    side = SampledNegatives(triples, 10, 5, shared, candidates=candidates).side(triples, target)
    counts = torch.bincount(side.negatives.flatten(), minlength=10).tolist()
    assert sum(counts) == sum(counts[e] for e in (1, 4, 6, 9)) and not improbable([counts[e] for e in (1, 4, 6, 9)])
    if shared == 1:
        assert not (side.negatives == side.answers[:, None]).any()
        counts = torch.bincount(side.negatives[side.answers == 4].flatten(), minlength=10).tolist()
        assert not improbable([counts[e] for e in (1, 6, 9)])


@TARGET
@pytest.mark.parametrize("shared", [1, 2, 4, 100])
@pytest.mark.parametrize("count", [1, 5, 9, 60])
def test_marks_equal_a_loop_over_a_set(random_graph, target, shared, count):
    torch.manual_seed(3)
    graph = random_graph(3)
    facts, groups = set(map(tuple, graph.train.tolist())), -(-count // shared)
    size = -(-count // groups)
    for known in (None, KnownAnswers(graph.train, graph.num_entities, graph.num_relations)):
        sampler = SampledNegatives(graph.train, graph.num_entities, 20, shared, known)
        side = sampler.side(graph.train[:count], target)
        assert side.negatives.shape == (groups, 20)
        if shared == 1 and known is None:  # there is nothing to mark
            assert side.false is None
            continue
        slow = []
        for i, triple in enumerate(side.triples.tolist()):
            row, answer = side.negatives[i // size].tolist(), triple[PLACE[target]]
            slow.append([e == answer or (known is not None and filled(triple, target, e) in facts) for e in row])
        assert side.false.tolist() == slow
        if count == 60:  # answers of the triple itself where negatives are shared, others where answers are known
            own = side.negatives.repeat_interleave(size, 0)[:count] == side.answers[:, None]
            assert (side.false & own).any() == (shared > 1) and side.false[own].all()
            assert (side.false & ~own).any() == (known is not None)


def test_negatives_are_a_function_of_seed_and_batch(random_graph):
    """So a resumed run draws what it would have drawn, and a worker process what the training process would."""
    graph = random_graph()

    def drawn(seed, positions):
        sampler = SampledNegatives(graph.train, graph.num_entities, 8, seed=seed)
        return torch.cat([side.negatives for side in sampler(positions).sides])

    order, other = list(range(20)), [1, 0, *range(2, 20)]
    first = drawn(0, order)
    torch.manual_seed(99)
    assert torch.equal(first, drawn(0, order))
    assert not torch.equal(first, drawn(1, order)) and not torch.equal(first, drawn(0, other))


def test_worker_processes_draw_the_same_negatives(random_graph):
    graph = random_graph()
    sampler = SampledNegatives(graph.train, graph.num_entities, 8)
    batches = [[3, 1, 4], [1, 5, 9], [4, 1, 3]]
    loaders = [DataLoader(range(60), batch_sampler=batches, collate_fn=sampler, num_workers=n) for n in (0, 1)]
    here, there = ([torch.cat([s.negatives for s in batch.sides]) for batch in loader] for loader in loaders)
    assert all(torch.equal(one, two) for one, two in zip(here, there, strict=True))
    assert not torch.equal(here[0], here[2])


def test_one_vs_all_asks_for_both_ends_of_each_triple(random_graph):
    triples = random_graph().train
    examples = OneVsAll(triples)
    assert len(examples) == 60
    batch = examples([5, 0, 5])
    assert [side.target for side in batch.sides] == ["head", "tail"]
    for side in batch.sides:
        assert side.triples.tolist() == triples[[5, 0, 5]].tolist()
        assert side.answers.tolist() == triples[[5, 0, 5], PLACE[side.target]].tolist()
        assert side.negatives is None and side.labels is None
    assert batch.triples.tolist() == triples[[5, 0, 5, 5, 0, 5]].tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_k_vs_all_is_every_query_once_with_all_its_answers(random_graph, seed, size):
    graph = random_graph(seed)
    answers = {}
    for h, r, t in graph.train.tolist():
        answers.setdefault(("tail", h, r), set()).add(t)
        answers.setdefault(("head", r, t), set()).add(h)
    assert max(map(len, answers.values())) > 1
    examples = KvsAll(graph.train, graph.num_entities, graph.num_relations)
    assert len(examples) == len(answers)
    found, order = {}, torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    for start in range(0, len(order), size):
        batch = examples(order[start : start + size])
        assert all(len(side.triples) for side in batch.sides)
        assert len(batch.triples) == len(order[start : start + size])
        for side in batch.sides:
            queries = [("tail", h, r) if side.target == "tail" else ("head", r, t) for h, r, t in side.triples.tolist()]
            assert not found.keys() & set(queries) and len(set(queries)) == len(queries)
            found |= {query: [] for query in queries}
            for row, entity in side.labels.T.tolist():
                found[queries[row]].append(entity)
    assert found.keys() == answers.keys()
    for query, entities in found.items():
        assert sorted(entities) == sorted(answers[query])


def test_candidates_are_the_columns_of_answers_and_labels():
    triples, candidates = torch.tensor([[4, 0, 7], [7, 0, 9]]), torch.tensor([4, 7, 9])
    batch = OneVsAll(triples, candidates)([1, 0])
    assert batch.answers.tolist() == [1, 0, 2, 1]  # heads 7 and 4, tails 9 and 7
    batch = KvsAll(triples, 10, 1, candidates)(list(range(4)))
    known = {"head": {7: [0], 9: [1]}, "tail": {4: [1], 7: [2]}}
    rows = [known[s.target][int(t[2] if s.target == "head" else t[0])] for s in batch.sides for t in s.triples]
    assert batch.labels.T.tolist() == [[row, column] for row, columns in enumerate(rows) for column in columns]


def test_a_batch_moves_with_everything_in_it(random_graph):
    triples, negatives = torch.tensor([[0, 1, 2]]), torch.tensor([[3, 4]])
    false, labels = torch.tensor([[True, False]]), torch.tensor([[0], [2]])
    batch = KgeBatch([Side("head", triples, negatives, false), Side("tail", triples, labels=labels)])
    moved = batch.to("meta")  # a device without numbers, which every machine has
    for before, after in zip(batch.sides, moved.sides):
        assert after.target == before.target
        for name in ("triples", "negatives", "false", "labels"):
            one, other = getattr(before, name), getattr(after, name)
            assert other is None if one is None else (other.device.type, other.shape) == ("meta", one.shape)
    same = batch.to("cpu").sides[0]
    assert same.negatives.tolist() == [[3, 4]] and same.false.tolist() == [[True, False]]


def rows_of(batch, target):
    """Of a batch: the triples of a target, each with its negatives and which of them are false."""
    rows = []
    for side in batch.sides:
        if side.target == target:
            size = -(-len(side.triples) // len(side.negatives))
            negatives = side.negatives.repeat_interleave(size, 0)[: len(side.triples)]
            columns = [side.triples, negatives, torch.zeros_like(negatives) if side.false is None else side.false]
            rows += torch.cat(columns, 1).tolist()
    return rows


@pytest.mark.parametrize("shared", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("filtered", [True, False])
def test_shares_of_processes_are_the_batch(random_graph, shared, filtered):
    graph = random_graph()
    sizes = graph.num_entities, graph.num_relations
    known = KnownAnswers(graph.train, *sizes) if filtered else None
    sampler = SampledNegatives(graph.train, graph.num_entities, 5, shared, known)
    for count in range(2, 28):
        positions = torch.randperm(60)[:count].tolist()
        whole = sampler(positions)
        assert whole.weight == 1 and len(whole.sides) == 2
        for processes in range(1, min(count, 6) + 1):
            shares = [sampler.share(positions, process, processes) for process in range(processes)]
            for target in TARGETS:
                assert [row for share in shares for row in rows_of(share, target)] == rows_of(whole, target)
            rows = [len(share.triples) for share in shares]
            assert max(rows) - min(rows) <= 1 and min(rows) > 0
            assert [share.weight for share in shares] == [number * processes / count for number in rows]


@pytest.mark.parametrize("all_entities", [OneVsAll, KvsAll])
def test_shares_of_processes_are_the_queries_of_all_entities(random_graph, all_entities):
    graph = random_graph()
    more = () if all_entities is OneVsAll else (graph.num_entities, graph.num_relations)
    examples = all_entities(graph.train, *more)
    shares = [examples.share([*range(7)], process, 2) for process in (0, 1)]
    asked = [(side.target, *row) for batch in shares for side in batch.sides for row in side.triples.tolist()]
    assert sorted(asked) == sorted((s.target, *row) for s in examples([*range(7)]).sides for row in s.triples.tolist())
    assert [share.weight for share in shares] == [6 / 7, 8 / 7]
