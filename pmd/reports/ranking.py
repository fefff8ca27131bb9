"""Ranking and timing for a report; what comes out is plain numbers and names, ready for JSON."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pmd.core.distributed import refuse_processes
from pmd.core.quiet import quiet
from pmd.core.types import Target, TripleScorer
from pmd.data.graphs.answers import KnownAnswers
from pmd.data.graphs.graph import KnowledgeGraph
from pmd.evaluation.breakdown import by_relation
from pmd.evaluation.metrics import RankingMetrics, Ranks
from pmd.evaluation.retention import retained
from pmd.evaluation.speed import median_seconds
from pmd.models.text.scorer import TextScorer
from pmd.recipes.ranking import ranked
from pmd.settings.shared import EvaluationConfig
from pmd.settings.text import TrainConfig
from pmd.training.device import accelerator_for
from pmd.use.answers import best_entities

EXAMPLES = 8
"""The most right answers that are shown, and the most wrong ones."""
FIRST = 3
"""Answers of an example."""

Query = tuple[Target, int]
"""What is asked for, of which triple of the split."""


def device_for(threads: int) -> torch.device:
    """Where a report ranks. PmdError if several processes were started."""
    quiet()
    refuse_processes()
    return accelerator_for(TrainConfig(threads=threads)).device


def details(scorer: TripleScorer, graph: KnowledgeGraph, config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Where a model is right and where not: metrics, standard error, by relation, retention and examples."""
    by_width = ranked(scorer, graph, EvaluationConfig(**config), split)
    full_width = by_width[max(by_width)]
    kept = retained({width: ranks.realistic for width, ranks in by_width.items()})
    return {
        "metrics": RankingMetrics.from_ranks(full_width).to_dict(),
        "standard_error": full_width.mrr_standard_error() if len(full_width.triples) > 1 else None,
        "relations": [
            {"id": graph.relation_ids[relation], "name": graph.relation_names[relation], **metrics.to_dict()}
            for relation, metrics in by_relation(full_width).items()
        ],
        "retention": {str(width): list(counts) for width, counts in kept.items()} if len(by_width) > 1 else {},
        "examples": examples(scorer, graph, full_width, split),
    }


def examples(scorer: TripleScorer, graph: KnowledgeGraph, split_ranks: Ranks, split: str) -> list[dict[str, Any]]:
    """Some queries whose answer ranks first, then those whose rank is worst, of as many relations as possible; each with
    the model's first answers, marked if the graph knows them."""
    known = KnownAnswers.of(graph, split)
    candidates, device = graph.candidates(split), getattr(scorer, "device", "cpu")
    rank: dict[Query, float] = {
        (target, row): value
        for target, side in split_ranks.sides.items()
        for row, value in enumerate(side.realistic.tolist())
    }

    def group(query: Query) -> tuple[int, Target]:
        return int(split_ranks.triples[query[1], 1]), query[0]

    def entity(position: int) -> dict[str, str]:
        return {"id": graph.entity_ids[position], "name": graph.entity_names[position]}

    @torch.no_grad()
    def answered(target: Target, row: int) -> dict[str, Any]:
        triple = split_ranks.triples[row : row + 1]
        scores = scorer.score_all(triple.to(device), target)[0].cpu()
        if candidates is not None:
            scores = torch.full_like(scores, float("-inf")).index_copy(0, candidates, scores[candidates])
        answers = set(known.lookup(triple, target)[1].tolist())
        head, relation, tail = triple[0].tolist()
        wanted = head if target == "head" else tail
        first = best_entities(scores.numpy(), FIRST).tolist()
        return {
            "target": target,
            "head": entity(head),
            "relation": {"id": graph.relation_ids[relation], "name": graph.relation_names[relation]},
            "tail": entity(tail),
            "first": [{**entity(e), "known": e in answers, "wanted": e == wanted} for e in first],
            "rank": rank[target, row],
        }

    order = torch.randperm(len(split_ranks.triples), generator=torch.Generator().manual_seed(0)).tolist()
    right = [(target, row) for row in order for target in split_ranks.sides if rank[target, row] == 1]
    wrong = sorted((query for query in rank if rank[query] > 1), key=lambda query: (-rank[query], query))
    return [answered(*query) for query in (*varied(right, group, EXAMPLES), *varied(wrong, group, EXAMPLES))]


def varied(queries: Sequence[Query], group: Callable[[Query], Any], count: int) -> list[Query]:
    """The first queries, of as many groups as possible: the first of each group, then the second of each."""
    seen: Counter[Any] = Counter()
    turns = []
    for position, query in enumerate(queries):
        turns.append((seen[group(query)], position))
        seen[group(query)] += 1
    return [queries[position] for _, position in sorted(turns)[:count]]


def milliseconds(
    scorers: Mapping[str, TripleScorer], widths: Mapping[str, Sequence[int]], triples: Tensor, rounds: int
) -> dict[str, dict[str, float]]:
    """The median time of one query by stage and width, all taking turns: (h, r, ?) scored with every entity, whose
    vectors are at hand, on one thread of the CPU. Every call has another query."""

    @torch.no_grad()
    def answer(scorer: TripleScorer, queries: Iterator[Tensor]) -> Tensor:
        return scorer.score_all(next(queries), "tail").cpu()

    calls = {
        (stage, width): partial(answer, at_width(scorer, width), itertools.cycle(triples.split(1)))
        for stage, scorer in scorers.items()
        for width in widths[stage]
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = median_seconds(calls, rounds)
    finally:
        torch.set_num_threads(threads)
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for (stage, width), median in seconds.items():
        times[stage][str(width)] = round(1000 * median, 4)
    return times


def at_width(scorer: Any, width: int) -> Any:
    """A scorer of its own for a width: a shared one would crop its entities again at every turn."""
    if isinstance(scorer, TextScorer):
        return TextScorer(scorer.model, scorer.text, scorer.entities, width=width)
    return scorer.crop(width).eval() if hasattr(scorer, "crop") else scorer  # a fused one has a single width
