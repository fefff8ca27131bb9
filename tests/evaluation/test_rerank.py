"""Neighbour re-ranking against a plain breadth-first search with sets and a queue."""

from __future__ import annotations

from collections import deque

import pytest
import torch

from pmd.core.errors import PmdError
from pmd.evaluation.ranking import ranks
from pmd.evaluation.rerank import NeighbourRerank

from .oracle import slow_ranks, tied_scorer


def plain_search(triples: list[list[int]], source: int, hops: int) -> set[int]:
    neighbours: dict[int, set[int]] = {}
    for head, _, tail in triples:
        neighbours.setdefault(head, set()).add(tail)
        neighbours.setdefault(tail, set()).add(head)
    distance, queue = {source: 0}, deque([source])
    while queue:
        entity = queue.popleft()
        for other in neighbours.get(entity, ()):
            if other not in distance and distance[entity] < hops:
                distance[other] = distance[entity] + 1
                queue.append(other)
    return set(distance)


@pytest.fixture
def sparse_graph(random_graph):
    """Sparse enough that five hops do not reach everything."""
    return random_graph(2, entities=80, train=60, test=30)


@pytest.mark.parametrize("hops", [0, 1, 2, 5, 100])
def test_reaches_what_a_plain_search_reaches(sparse_graph, hops):
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=hops)
    reached = rerank.neighbours(list(range(80)))
    for entity in range(80):
        assert len(reached[entity]) == len(set(reached[entity].tolist()))
        assert set(reached[entity].tolist()) == plain_search(sparse_graph.train.tolist(), entity, hops)


@pytest.mark.parametrize("target", ["head", "tail"])
def test_adds_the_weight_once(sparse_graph, target):
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=2, weight=0.5)
    triples = torch.cat([sparse_graph.test, sparse_graph.test[:5]])  # repeated queries too
    scores = torch.arange(len(triples) * 80.0).view(-1, 80)
    before = scores.clone()
    adjusted = rerank.adjust(scores, triples, target)
    assert torch.equal(scores, before)
    for row, (head, _, tail) in enumerate(triples.tolist()):
        near = plain_search(sparse_graph.train.tolist(), tail if target == "head" else head, 2)
        wanted = [before[row, e].item() + (0.5 if e in near else 0) for e in range(80)]
        assert adjusted[row].tolist() == wanted


def test_scores_that_are_not_contiguous(sparse_graph):
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=1)
    scores = torch.rand(80, 30).T
    expected = rerank.adjust(scores.contiguous(), sparse_graph.test, "tail")
    assert torch.equal(rerank.adjust(scores, sparse_graph.test, "tail"), expected)


@pytest.mark.parametrize("cache_size", [0, 10, 100, 10**6])
def test_cache_is_bounded_and_changes_nothing(sparse_graph, cache_size):
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=3, cache_size=cache_size)
    for start in (0, 40, 20, 60, 0):
        reached = rerank.neighbours(list(range(start, min(start + 30, 80))))
        for entity, ids in zip(range(start, 80), reached):
            assert set(ids.tolist()) == plain_search(sparse_graph.train.tolist(), entity, 3)
        assert rerank._cached == sum(map(len, rerank._cache.values())) <= cache_size


def test_entities_that_reach_too_much_get_nothing(sparse_graph):
    limit = 6
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=2, max_nodes=limit)
    sizes = [len(plain_search(sparse_graph.train.tolist(), entity, 2)) for entity in range(80)]
    assert min(sizes) <= limit < max(sizes)
    found = [len(ids) for ids in rerank.neighbours(list(range(80)))]
    assert found == [size if size <= limit else 0 for size in sizes]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("target", ["head", "tail"])
def test_ranks_with_rerank_equal_a_double_loop(sparse_graph, batch_size, target):
    scorer = tied_scorer(sparse_graph, 1)
    rerank = NeighbourRerank(sparse_graph.train, 80, hops=2, weight=1.0)  # of the size of the score steps
    near = {entity: plain_search(sparse_graph.train.tolist(), entity, 2) for entity in range(80)}
    table = scorer.tables[target].tolist()
    slow = slow_ranks(
        lambda known, relation, candidate: table[known][relation][candidate] + (candidate in near[known]),
        sparse_graph,
        "test",
        target,
        True,
        list(range(80)),
    )
    side = ranks(scorer, sparse_graph, rerank=rerank, targets=(target,), batch_size=batch_size).both
    assert side.optimistic.tolist() == [low for low, _, _ in slow]
    assert side.pessimistic.tolist() == [high for _, high, _ in slow]


def test_negative_hops_are_refused(sparse_graph):
    with pytest.raises(PmdError, match=r"hops.*-1"):
        NeighbourRerank(sparse_graph.train, 80, hops=-1)
